"""What of a library is installed here, as exactly as it says itself."""

from __future__ import annotations

import sys
from importlib import metadata


def version(name: str) -> str | None:
    """A distribution's version, None if it is not installed; where it is imported, its own word,
    which names the build (torch's ``2.11.0+cu130``, whose metadata may say ``2.11.0``).
    """
    own = getattr(sys.modules.get(name), "__version__", None)
    if own is not None:
        return str(own)
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
