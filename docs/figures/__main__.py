"""``python docs/figures``: draw again what shows other numbers than the code computes."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import data
import draw

FOLDER = Path(__file__).resolve().parent.parent / "images" / "learn"
NAMES = (
    "windows",
    "padded",
    "columns",
    "stamps",
    "pools",
    "receptive",
    "winograd",
    "errors",
    "tile",
)


def mark(name: str) -> str:
    """The comment that says which numbers a picture shows."""
    return f"<!-- drawn of {data.digest(getattr(data, name)())} -->"


def picture(name: str) -> str:
    """A picture, with its mark."""
    return draw.svg(name, getattr(draw, name), getattr(data, name)()) + mark(name) + "\n"


def stale(names: tuple[str, ...] = NAMES) -> list[str]:
    """Pictures that are missing or show other numbers."""
    paths = {name: FOLDER / f"{name}.svg" for name in names}
    return [n for n, p in paths.items() if not p.exists() or mark(n) not in p.read_text()]


def main(names: list[str]) -> int:
    """Draw the named pictures, or those that are stale."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names or stale():
        (FOLDER / f"{name}.svg").write_text(picture(name))
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
