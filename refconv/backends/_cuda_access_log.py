"""What each thread of one block of a launch reads and writes: the very ``.cu`` files, in a build of
the emulator that notes every access (kernels/cuda/emulator/access_log.h says how).
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from . import _cuda_emulator as emulator
from . import _cuda_source as source
from ._cuda_launch import Launch, Triple
from ._cuda_source import Macros

#: Of an access, as in access_log.h.
RECORD = np.dtype(
    [
        ("offset", "u8"), ("instruction", "u8"), ("size", "u4"), ("thread", "u2"), ("kind", "u1"),
        ("array", "u1"), ("value", "u1", 16),
    ]
)  # fmt: skip
READ, WRITE = 0, 1
#: The arrays that a launch need not name, and the thread of a copy that is no thread's.
SHARED = {254: "dynamic shared", 255: "static shared"}
NOBODY = 0xFFFF
#: Accesses that a log holds: 40 bytes each.
MOST = 1 << 23
#: -O1 leaves loads as the source has them, but for those that are plainly the same.
COMPILED = ("-O1", "-fsanitize=thread", "-fno-threadsafe-statics", "-DEMULATOR")
WRAPPED = ("-Wl,--wrap=memcpy", "-Wl,--wrap=memset")


@dataclass(frozen=True)
class Log:
    """The accesses of one block, in the order in which the emulator's threads made them.

    Args:
        names: of the arrays, by the number in ``accesses["array"]``; shared memory is named too.
        accesses: of ``RECORD``: offset in the array and size in bytes; which instruction, as a
            number that says nothing but which are the same; number of the thread in its block; the
            first 16 bytes of what was read.
    """

    launch: Launch
    block: Triple
    names: Mapping[int, str]
    accesses: np.ndarray

    def of(self, name: str, kind: int = READ) -> np.ndarray:
        """The accesses of one array."""
        numbers = [i for i, n in self.names.items() if n == name]
        mine = np.isin(self.accesses["array"], numbers)
        return self.accesses[mine & (self.accesses["kind"] == kind)]


class _Range(ctypes.Structure):
    _fields_ = (("start", ctypes.c_void_p), ("bytes", ctypes.c_ulonglong))


def logged(
    launch: Launch,
    addresses: Mapping[str, int],
    sizes: Mapping[str, int],
    *,
    watched: int = 0,
    block: Triple | None = None,
) -> Log | None:
    """Run a launch and note what one block does; None if no block writes to ``watched``.

    Args:
        addresses: of the launch's arrays by name, and ``sizes``, in bytes.
        watched: address; the first block that writes there is noted, and those behind it do not
            run. ``block``: instead, note this one, and run no other.

    Raises:
        EmulatorError: the kernel does what it must not, or more than ``MOST`` accesses.
    """
    library = _library(launch.source, launch.macros)
    arrays = [name for name in sizes if addresses.get(name) and sizes[name]]
    ranges = (_Range * len(arrays))(*(_Range(addresses[n], sizes[n]) for n in arrays))
    x, y, z = block or (0, 0, 0)
    only = -1 if block is None else x + launch.grid[0] * (y + launch.grid[1] * z)
    library.access_log_begin(
        ranges, len(arrays), ctypes.c_void_p(watched), ctypes.c_longlong(only),
        ctypes.c_ulonglong(MOST),
    )  # fmt: skip
    try:
        emulator._run(launch, addresses, 0, _library)
    finally:
        items, used = ctypes.c_void_p(), ctypes.c_ulonglong()
        at = (ctypes.c_uint * 3)()
        full = library.access_log_end(ctypes.byref(items), ctypes.byref(used), at)
    if full:
        raise emulator.EmulatorError(f"{launch.kernel}: a block of more than {MOST:,} accesses")
    if not used.value:
        return None
    held = ctypes.string_at(items.value or 0, used.value * RECORD.itemsize)
    names = {**dict(enumerate(arrays)), **SHARED}
    return Log(launch, (at[0], at[1], at[2]), names, np.frombuffer(held, RECORD))


@cache
def _library(name: str, macros: Macros) -> ctypes.CDLL:
    """Compiled to an object file first: linked in one go, ThreadSanitizer would come along."""
    path = source.folder() / name
    includes = ("emulator/access_log.h", "emulator/device.h", path.name)
    unit = "".join(f'#include "{header}"\n' for header in includes)
    unit += "".join(f"EMULATOR_LOGGED({k})\n" for k in source.kernels(source.text(name)))
    header = (source.folder() / "emulator" / "access_log.h").read_text()
    unit += f"// {hash_of(header)}\n"
    options = (*COMPILED, *source.define(macros), "-c")
    made = emulator._compiled(f"{path.stem}.o", unit, path, options)
    linked: Sequence[str] = ("-shared", str(made), str(emulator._runtime()), *WRAPPED)
    text = f"// {made.parent.name}\n"
    return ctypes.CDLL(str(emulator._compiled(f"{path.stem}.so", text, path, tuple(linked))))


def hash_of(text: str) -> str:
    """A short name for a text."""
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:16]
