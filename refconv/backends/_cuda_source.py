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


@cache
def headers() -> dict[str, str]:
    """Name → text of every header that kernels include."""
    return {path.name: path.read_text() for path in sorted(folder().glob("*.cuh"))}


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
