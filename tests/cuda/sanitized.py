"""Launches as programs of their own, built with a sanitizer: what it says of them."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import torch

from refconv.backends import _cuda_emulator as emulator
from refconv.backends import _cuda_source as source
from refconv.backends._cuda_launch import Launch
from refconv.backends._cuda_tensor_map import TensorMap, emulated

#: The compiler's options for each.
SANITIZERS = {
    "address": ("-fsanitize=address", "-fno-omit-frame-pointer"),
    "thread": ("-fsanitize=thread", "-DEMULATOR_THREADS", "-pthread"),
}
_NONE = struct.pack("<q", -1)


def missing(sanitizer: str, folder: Path) -> str:
    """Why programs with this sanitizer cannot be built and run here; empty if they can."""
    if emulator.compiler() is None:
        return "there is no C++ compiler"
    (folder / "empty.cpp").write_text("int main() { return 0; }")
    made = _run([str(emulator.compiler()), *SANITIZERS[sanitizer], "empty.cpp"], folder)
    if made.returncode:
        return f"the compiler has no {sanitizer} sanitizer: {made.stderr[:200]}"
    ran = _run([*_fixed(sanitizer), "./a.out"], folder)
    return f"it does not run here: {ran.stderr[:200]}" if ran.returncode else ""


def run(
    sanitizer: str,
    launch: Launch,
    arrays: Mapping[str, torch.Tensor],
    folder: Path,
) -> str:
    """What the sanitizer, or the emulator, says of a launch; empty if nothing. The arrays are
    changed as the launch does.
    """
    program = _program(sanitizer, launch)
    (folder / "job").write_bytes(_job(launch, arrays))
    ran = _run([*_fixed(sanitizer), str(program), "job", "done", launch.kernel], folder)
    if ran.returncode:
        return ran.stderr or f"exit status {ran.returncode}"
    left = bytearray((folder / "done").read_bytes())
    for array in arrays.values():
        size = array.numel() * array.element_size()
        if size:
            _flat(array).copy_(torch.frombuffer(left[:size], dtype=array.dtype))
        del left[:size]
    return ran.stderr


def _fixed(sanitizer: str) -> list[str]:
    """ThreadSanitizer wants its addresses where it expects them."""
    return ["setarch", "-R"] if sanitizer == "thread" and shutil.which("setarch") else []


def _program(sanitizer: str, launch: Launch) -> Path:
    """The program that runs a kernel of the launch's file; kept until a file that it is made of
    changes.
    """
    path, kernels = source.folder() / launch.source, source.kernels(source.text(launch.source))
    unit = "".join(
        f'#include "{header}"\n'
        for header in ("emulator/device.h", "emulator/launch.h", "emulator/replay.h", path.name)
    )
    unit += "".join(f"EMULATOR_ENTRY({kernel})\n" for kernel in kernels)
    entries = ", ".join(f'{{"{kernel}", launch_{kernel}}}' for kernel in kernels)
    unit += f"EMULATOR_REPLAY({entries})\n"
    options = (*source.define(launch.macros), *map(str, _runtime(sanitizer)))
    return _built(sanitizer, path, unit, options)


@cache
def _runtime(sanitizer: str) -> list[Path]:
    """What every program has besides, as object files."""
    places = [source.folder() / "emulator" / f"{name}.cpp" for name in ("runtime", "replay")]
    return [_built(sanitizer, p, f'#include "{p.name}"\n', ("-c",)) for p in places]


def _built(sanitizer: str, path: Path, unit: str, options: tuple[str, ...]) -> Path:
    replay = source.folder() / "emulator" / "replay.h"
    headers = [*source.headers(path).values(), *source.headers(replay).values()]
    command = (str(emulator.compiler()), *emulator.linker(), "-std=c++17", "-O0", "-g1", "-w",
               "-DEMULATOR", *SANITIZERS[sanitizer])  # fmt: skip
    home = source.cached(
        "sanitized", unit, path.read_text(), replay.read_text(), *headers, *command, *options
    )
    if not (home / "made").exists():
        (home / "unit.cpp").write_text(unit)
        folders = (f"-I{path.parent}", f"-I{source.folder()}")
        done = _run([*command, *folders, "unit.cpp", *options, "-o", "scratch"], home)
        assert done.returncode == 0, done.stderr[:2000]
        (home / "scratch").replace(home / "made")
    return home / "made"


def _job(launch: Launch, arrays: Mapping[str, torch.Tensor]) -> bytes:
    """The file that emulator/replay.h describes."""
    parts = [struct.pack("<q", len(arrays))]
    for array in arrays.values():
        held = _flat(array).view(torch.uint8).numpy().tobytes()
        parts += [struct.pack("<q", len(held)), held]
    numbers = (*launch.grid, *launch.block, launch.shared, 0, len(launch.arguments))
    parts.append(struct.pack(f"<{len(numbers)}q", *numbers))
    names = list(arrays)
    for argument in launch.arguments:
        if isinstance(argument, str):
            at = names.index(argument) if argument in arrays else -1
            parts += [struct.pack("<q", at), _NONE]
        elif isinstance(argument, TensorMap):  # whose first bytes are the array's address
            value = emulated(argument, 0)
            parts += [struct.pack("<qq", names.index(argument.array), len(value)), value]
        else:
            value = argument if isinstance(argument, bytes) else struct.pack("<i", argument)
            parts += [_NONE, struct.pack("<q", len(value)), value]
    return b"".join(parts)


def _flat(array: torch.Tensor) -> torch.Tensor:
    """The array's elements as they lie in memory, without gaps in whatever order."""
    return array.as_strided((array.numel(),), (1,), array.storage_offset())


def _run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)
