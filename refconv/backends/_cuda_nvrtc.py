"""Compiles CUDA C++ for a GPU with the NVRTC that CuPy ships; needs no GPU and no toolkit.

Not ``cupy.RawModule(code=…)``: that flushes denormal numbers to zero (-ftz=true) whatever it is
told, cannot name sm_90a, and its cache does not see a header change.
"""

from __future__ import annotations

import os
from typing import Any

from . import _cuda_source as source
from ._cuda_source import Macros

OPTIONS = ("-std=c++17", "-lineinfo", "--ptxas-options=-v")


class CompileError(RuntimeError):
    """NVRTC's own message."""


def architecture(capability: tuple[int, int]) -> str:
    """What is compiled for a GPU of this compute capability: Hopper's own instructions included.

    Example:
        >>> architecture((9, 0)), architecture((8, 6))
        ('sm_90a', 'sm_86')
    """
    name = f"sm_{capability[0]}{capability[1]}"
    return name + "a" if name == "sm_90" else name


def compiled(name: str, macros: Macros, arch: str) -> tuple[bytes, str]:
    """The cubin of a file of kernels/cuda, and what the assembler says: registers, spills, shared
    memory of every kernel. From the cache, if it was compiled before.

    Raises:
        CompileError: NVRTC refuses it.
    """
    from cupy.cuda import nvrtc

    text = source.text(name)
    headers = source.headers(source.folder() / name, emulator=False)
    options = (f"-arch={arch}", *OPTIONS, *source.define(macros))
    parts = (text, *headers.values(), *options, str(nvrtc.getVersion()))
    home = source.cached("cuda", *parts)
    cubin, log = home / "kernels.cubin", home / "log.txt"
    if not cubin.exists():
        made, said = _compile(nvrtc, name, text, headers, options)
        log.write_text(said)
        scratch = home / f"{os.getpid()}.cubin"
        scratch.write_bytes(made)
        scratch.replace(cubin)  # at once, whoever else makes it
    return cubin.read_bytes(), log.read_text()


def _compile(
    nvrtc: Any, name: str, text: str, headers: dict[str, str], options: tuple[str, ...]
) -> tuple[bytes, str]:
    program = nvrtc.createProgram(
        text, name, [h.encode() for h in headers.values()], [n.encode() for n in headers]
    )
    try:
        try:
            nvrtc.compileProgram(program, options)
        except nvrtc.NVRTCError as error:
            raise CompileError(f"{name}: {error}\n{nvrtc.getProgramLog(program)}") from None
        cubin = nvrtc.getCUBIN(program) + b"\0"  # CuPy drops the last byte
        return cubin, nvrtc.getProgramLog(program)
    finally:
        nvrtc.destroyProgram(program)
