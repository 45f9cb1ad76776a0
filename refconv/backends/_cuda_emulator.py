"""Runs launches on the CPU: the very ``.cu`` files, compiled by the system's C++ compiler with the
headers in kernels/cuda/emulator, one shared library for each file and set of macros.

Libraries stay in the user's cache folder, named by the hash of all that they are made of.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from . import _cuda_source as source
from ._cuda_launch import Launch, packed
from ._cuda_source import Macros
from ._cuda_tensor_map import emulated

#: Orders in which threads and blocks take turns. Other numbers shuffle, each in its way.
ORDERS = {"forward": 0, "reverse": 1, "shuffled": 2}
FLAGS = (
    "-std=c++17", "-O2", "-g1", "-fPIC", "-fvisibility=hidden", "-w",
)  # fmt: skip

#: Characters of a compiler's messages that are shown.
MOST = 4000

_order: ContextVar[int] = ContextVar("refconv_cuda_order", default=0)
_lock = Lock()  # the emulator has one block in flight


class EmulatorError(RuntimeError):
    """A kernel broke a rule of CUDA: the block, the thread or the line, and the rule."""


class BuildError(RuntimeError):
    """A kernel does not compile: the command, and the compiler's own words."""


@contextmanager
def order(name: str) -> Iterator[None]:
    """Let threads take turns in another of ``ORDERS`` inside this block of code."""
    token = _order.set(ORDERS[name])
    try:
        yield
    finally:
        _order.reset(token)


def compiler() -> str | None:
    """The C++ compiler: ``$CXX``, else the first there is."""
    names = (os.environ.get("CXX"), "c++", "g++", "clang++")
    return next((found for n in names if n and (found := shutil.which(n))), None)


@cache
def linker() -> tuple[str, ...]:
    """The compiler's option for a linker that takes a third of the usual one's time, if there is
    one.
    """
    return ("-fuse-ld=gold",) if shutil.which("ld.gold") else ()


def execute(launches: Sequence[Launch], addresses: Mapping[str, int], like: Any) -> None:
    """Run the launches, one after another, on arrays at these addresses.

    Raises:
        EmulatorError: a kernel does what it must not. BuildError: it does not compile.
    """
    for launch in launches:
        _run(launch, addresses, _order.get())


class _Request(ctypes.Structure):
    """Request of emulator/state.h."""

    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_ulonglong),
        ("arguments", ctypes.POINTER(ctypes.c_void_p)),
        ("sizes", ctypes.POINTER(ctypes.c_ulonglong)),
        ("count", ctypes.c_uint),
        ("order", ctypes.c_uint),
        ("error", ctypes.c_char_p),
        ("error_bytes", ctypes.c_ulonglong),
    )


def _run(
    launch: Launch,
    addresses: Mapping[str, int],
    turns: int,
    library: Callable[[str, Macros], Any] | None = None,
) -> None:
    """One launch, by the build that ``library`` makes; None: the usual one."""
    made = (library or _library)(launch.source, launch.macros)
    kernel = getattr(made, f"launch_{launch.kernel}")
    values, pointers, sizes = packed(launch, addresses, emulated)
    error = ctypes.create_string_buffer(512)
    request = _Request(
        launch.grid, launch.block, launch.shared, pointers, sizes, len(values), turns,
        ctypes.cast(error, ctypes.c_char_p), len(error),
    )  # fmt: skip
    with _lock:
        failed = kernel(ctypes.byref(request))
    if failed:
        raise EmulatorError(f"{launch.kernel}: {error.value.decode()}")


@cache
def _library(name: str, macros: Macros) -> ctypes.CDLL:
    path, text = source.folder() / name, source.text(name)
    entries = "".join(f"EMULATOR_ENTRY({kernel})\n" for kernel in source.kernels(text))
    first = '#include "emulator/device.h"\n#include "emulator/launch.h"\n'
    unit = f'{first}#include "{path.name}"\n{entries}'
    options = ("-DEMULATOR", *source.define(macros), "-shared", str(_runtime()), *linker())
    return ctypes.CDLL(str(_compiled(f"{path.stem}.so", unit, path, options)))


@cache
def _runtime() -> Path:
    """The part that all kernels share, as an object file."""
    path = source.folder() / "emulator" / "runtime.cpp"
    return _compiled("runtime.o", '#include "runtime.cpp"\n', path, ("-c",))


def _compiled(name: str, unit: str, path: Path, options: tuple[str, ...]) -> Path:
    """The file ``name`` made of ``unit``, which includes the file at ``path``; from the cache if it
    was made before.
    """
    with_compiler = compiler()
    assert with_compiler is not None  # the backend's probe has looked
    headers = [*source.headers(path).values(), *source.headers(_launch()).values()]
    parts = (unit, path.read_text(), *headers, _launch().read_text(), _version())
    home = source.cached("cuda-on-cpu", *parts, *FLAGS, *options)
    if not (home / name).exists():
        with tempfile.TemporaryDirectory(dir=home) as scratch:
            (Path(scratch) / "unit.cpp").write_text(unit)
            folders = [f"-I{path.parent}", f"-I{source.folder()}"]
            made = [with_compiler, *FLAGS, *folders, "unit.cpp", *options, "-o", name]
            done = subprocess.run(made, cwd=scratch, capture_output=True, text=True)
            if done.returncode:
                raise BuildError(f"{' '.join(made)}:\n{done.stderr[:MOST]}")
            (Path(scratch) / name).replace(home / name)  # at once, whoever else makes it
    return home / name


def _launch() -> Path:
    """The header that every kernel's unit includes besides."""
    return source.folder() / "emulator" / "launch.h"


@cache
def _version() -> str:
    """Which compiler it is."""
    return subprocess.run([str(compiler()), "--version"], capture_output=True, text=True).stdout
