"""A JSON document: to stdout, or to a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import UsageError


def emit(where: str, document: dict[str, Any]) -> None:
    """Write ``document`` to the file ``where``, or for ``-`` to stdout.

    Raises:
        UsageError: the file cannot be written.
    """
    text = json.dumps(document, indent=1, ensure_ascii=False)
    if where == "-":
        print(text)
        return
    try:
        Path(where).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{where} cannot be written: {error.strerror}") from None
