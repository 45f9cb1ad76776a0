"""Why a GPU cannot be used: one wording for every backend, with what helps.

A reason is a state and, behind it, the way out of it.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any

#: What the driver installs, by the names that CUDA's libraries look for.
DRIVERS = ("libcuda.so.1", "libcuda.so", "nvcuda.dll")
#: NVIDIA's driver in the kernel, and NVIDIA's number on the bus.
MODULE, BUS, NVIDIA = Path("/proc/driver/nvidia"), Path("/sys/bus/pci/devices"), "0x10de"
#: The oldest GPU that the kernels are written for.
OLDEST = (7, 0)

NO_GPU = "this machine has no NVIDIA driver; the CPU backends need none"
#: What helps where CUDA itself fails.
STARTS = "nvidia-smi must work first; else reboot, or reinstall the driver"


@cache
def driver() -> Any:
    """The driver's library, or None; needs no CUDA package."""
    for name in DRIVERS:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def no_driver() -> str | None:
    """Why there is no driver to talk to, or None. Asked before a CUDA package is imported, which
    takes a second or more.
    """
    if driver() is not None:
        return None
    if MODULE.exists():
        return (
            "NVIDIA's driver is loaded, but its library libcuda.so.1 is not to be found here "
            "(in a container: start it with --gpus all)"
        )
    if has_card():
        return "there is an NVIDIA card, but no NVIDIA driver (install the driver; no toolkit)"
    return NO_GPU


def has_card() -> bool:
    """Whether a display or compute card of NVIDIA is on the bus."""
    for device in BUS.glob("*"):
        try:
            vendor, kind = ((device / name).read_text().strip() for name in ("vendor", "class"))
        except OSError:
            continue
        if vendor == NVIDIA and kind.startswith("0x03"):
            return True
    return False


def no_device() -> str:
    """The driver is there, and sees nothing."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None:
        return (
            f"the driver sees no CUDA device: CUDA_VISIBLE_DEVICES={hidden!r} hides them "
            "(unset CUDA_VISIBLE_DEVICES)"
        )
    return "the driver sees no CUDA device (nvidia-smi -L lists what it sees)"


def old_driver(known: str, who: str, needed: str, other: str) -> str:
    """The driver is of an older CUDA than ``who`` was built for.

    Args:
        known, needed: versions of CUDA. other: what would run on this driver.
    """
    return (
        f"the driver is too old: it knows CUDA {known}, and {who} needs {needed} "
        f"(update the driver, or {other})"
    )


def old_card(capability: tuple[int, int]) -> str | None:
    """The GPU is older than the kernels, or None."""
    if capability >= OLDEST:
        return None
    return (
        f"the GPU has compute capability {capability[0]}.{capability[1]}, and "
        f"{OLDEST[0]}.{OLDEST[1]} is needed (use a newer GPU, or a CPU backend)"
    )


def extra(major: int) -> str:
    """The command that installs what a driver of CUDA ``major`` can run.

    Example:
        >>> extra(12), extra(14)
        ('pip install "refconv[cuda12]"', 'pip install "refconv[cuda13]"')
    """
    return f'pip install "refconv[cuda{min(max(major, 12), 13)}]"'


def short(error: Exception) -> str:
    """An error's message in one line that is not too long."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def not_installed(what: str) -> str:
    """A package is missing; which of the extras is right depends on the driver."""
    major = driver_version() // 1000
    which = extra(major) if major else f'{extra(13)}, or "refconv[cuda12]", where a GPU is'
    return f"{what} is not installed ({which})"


def driver_version() -> int:
    """1000 times the major version of the newest CUDA that the driver knows, and 10 times the
    minor; 0 without a driver.
    """
    library, found = driver(), ctypes.c_int(0)
    if library is None or library.cuDriverGetVersion(ctypes.byref(found)):
        return 0
    return found.value


def version(number: int) -> str:
    """CUDA's number of a version, as people write it.

    Example:
        >>> version(12080)
        '12.8'
    """
    return f"{number // 1000}.{number % 1000 // 10}"
