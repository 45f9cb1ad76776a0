"""Whether refconv's parts belong together: package, kernels, and what pip believes is installed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from ... import __version__
from .report import Finding

PACKAGE = Path(__file__).resolve().parents[2]


def kernels() -> Path:
    """The folder of the kernels that are used."""
    spec = find_spec("refconv.kernels")
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]).resolve() if places else Path()


def check(package: Path = PACKAGE, used: Path | None = None) -> Iterator[Finding]:
    """A failure where the kernels are another checkout's; a warning where pip has another version.

    Args:
        package: refconv's folder. used: the kernels' folder.
    """
    used = kernels() if used is None else used
    if used not in (package.parent / "kernels", package / "kernels"):
        text = f"refconv is {package}, but its kernels are {used}: those of another checkout"
        fix = f'pip install -e "{package.parent}" (an editable install of the other one wins)'
        yield Finding("failed", "kernels", text, fix)
    try:
        known = metadata.version("refconv")
    except metadata.PackageNotFoundError:
        return
    if known != __version__:
        text = f"this is {__version__}, and pip has installed {known}"
        yield Finding("warning", "refconv", text, "pip install -e . in the checkout that you use")
