"""The CUDA C++ files as text, and the cache of what is compiled from them."""

from __future__ import annotations

import hashlib
import os
import re
from functools import cache
from importlib import import_module
from pathlib import Path

Macros = tuple[tuple[str, str], ...]


@cache
def folder() -> Path:
    """kernels/cuda, wherever it is installed."""
    return Path(import_module("refconv.kernels.cuda").__path__[0])


def text(source: str) -> str:
    """A file of the folder; an absolute path is taken as it is."""
    return (folder() / source).read_text()


def headers(path: Path, emulator: bool = True) -> dict[str, str]:
    """Name → text of every header that the file at ``path`` includes, and that these include.

    A header beside the file is taken first, as compilers do, then one of the folder.

    Args:
        emulator: the emulator's too.
    """
    found: dict[str, str] = {}
    left = [path]
    while left:
        file = left.pop()
        for name in re.findall(r'^#include "([^"]+)"', file.read_text(), re.MULTILINE):
            places = [place / name for place in (file.parent, path.parent, folder())]
            here = next((p for p in places if p.is_file()), None)
            if name.startswith("emulator/") and not emulator:
                continue
            if here is not None and name not in found:
                found[name] = here.read_text()
                left.append(here)
    return found


def kernels(source_text: str) -> list[str]:
    """The names of the kernels in a source.

    Example:
        >>> kernels('__global__ void __launch_bounds__(W * H, 768 / (W * H)) fill(float *y) {')
        ['fill']
    """
    bounds = r"(?:__launch_bounds__\((?:[^()]|\([^()]*\))*\)\s*)?"
    return re.findall(rf"__global__\s+void\s+{bounds}(\w+)\s*\(", source_text)


def define(macros: Macros) -> list[str]:
    """The compiler's options for macros."""
    return [f"-D{name}={value}" for name, value in macros]


def cached(kind: str, *parts: str) -> Path:
    """Where in the user's cache folder that which is made of ``parts`` lies: a folder, which is
    there.
    """
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
    cache_home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    found = Path(cache_home) / "refconv" / kind / digest
    found.mkdir(parents=True, exist_ok=True)
    return found
