"""Portable oracle packs: cases with what is needed to verify any implementation of them, in any
language, in a few KB each.

``verify`` is a verifier in one file that needs NumPy alone; ``make`` writes packs; ``targets`` lets
torch's functions, our backends and users' own be verified. The packs of this project are in
``bench/packs``, beside what describes their format.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ...notation import near

__all__ = ["find", "packs"]


def packs() -> dict[str, Any]:
    """The project's packs by name: those installed with refconv, else those of the checkout."""
    try:
        found = list(resources.files("refconv.packs").iterdir())
    except (ModuleNotFoundError, FileNotFoundError, TypeError):
        folder = Path(__file__).resolve().parents[3] / "bench" / "packs"
        found = list(folder.iterdir()) if folder.is_dir() else []
    named = {f.name.removesuffix(".jsonl"): f for f in found if f.name.endswith(".jsonl")}
    return dict(sorted(named.items()))


def find(spec: str) -> Path:
    """The file of a pack, from its path or from the name of one of ours.

    Raises:
        UsageError: there is neither.
    """
    path, known = Path(spec), packs()
    if path.is_file():
        return path
    if spec not in known:
        raise UsageError(
            f"no pack {spec!r}{near(spec, known) or '.'} It is a file (refconv pack make), or one "
            f"of ours: {', '.join(known)}"
        )
    return Path(str(known[spec]))
