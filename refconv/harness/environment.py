"""Where a run happens: machine, versions, threads and the precision in effect, read and never
assumed.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .. import __version__
from ..errors import UsageError
from .versions import version

if TYPE_CHECKING:
    from .records import Environment

CPU0 = Path("/sys/devices/system/cpu/cpu0")


def describe(
    command: str,
    *,
    allocator: str = "steady",
    libraries: tuple[str, ...] = (),
    threads: int | None = None,
) -> Environment:
    """Everything a reader of the records needs to know; sets equal threads and the steady allocator
    on the way.

    Args:
        allocator: ``steady``, or ``default``: as the process has it.
        libraries: whose versions are told besides ``LIBRARIES``.
        threads: for all; by default as many as torch has.
    """
    from .records import Environment

    if threads:
        torch.set_num_threads(threads)
    return Environment(
        command=command,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        python=platform.python_version(),
        versions=versions(*libraries),
        cpu=cpu_model(),
        cores=cores(),
        threads=equal_threads(),
        precision={"cpu": precision("cpu")}
        | ({"cuda": precision("cuda")} if torch.cuda.is_available() else {}),
        allocator=steady_allocator() if allocator == "steady" else "default",
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        commit=commit(),
        governor=governor(),
    )


#: What computes.
LIBRARIES = ("torch", "numpy", "numba")


def versions(*more: str) -> dict[str, str]:
    """Versions of what computes, and of ``more``."""
    known = {name: version(name) for name in (*LIBRARIES, *more)}
    return {"refconv": __version__} | {name: told for name, told in known.items() if told}


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_model() -> str:
    """The processor's name, as the system gives it, with its family and model: a virtual machine
    calls generations alike that differ by a factor of two.
    """
    found: dict[str, str] = {}
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            found.setdefault(key.strip(), value.strip())
    name = found.get("model name") or platform.processor() or platform.machine()
    numbers = [f"{key.split()[-1]} {found[key]}" for key in ("cpu family", "model") if key in found]
    return f"{name} ({' '.join(numbers)})" if numbers else name


def governor() -> str:
    """How the system chooses the processor's clock; empty if it does not say."""
    try:
        return (CPU0 / "cpufreq" / "scaling_governor").read_text().strip()
    except OSError:
        return ""


def last_level_cache() -> int:
    """Bytes of the largest cache; 32 MiB if the system does not say."""
    sizes = [32 << 20]
    for index in (CPU0 / "cache").glob("index*"):
        try:
            text = (index / "size").read_text().strip()
            sizes.append(int(text[:-1]) << {"K": 10, "M": 20, "G": 30}[text[-1]])
        except (OSError, ValueError, KeyError, IndexError):
            continue
    return max(sizes)


def precision(device: str, dtype: str = "float32") -> str:
    """How a convolution of ``dtype`` multiplies on ``device`` right now: its dtype, or a narrower
    format.

    torch's convolutions on CUDA use TF32 for float32 unless told otherwise, and since 2.9 there are
    two ways to tell; reading the old one after the new one was set raises.
    """
    short = {"float32": "fp32", "float64": "fp64", "float16": "fp16", "bfloat16": "bf16"}
    name = short.get(dtype, dtype)
    if dtype not in ("float32", "complex64"):
        return name
    if device == "cuda":
        return "tf32" if _tf32() else name
    setting = getattr(getattr(torch.backends, "mkldnn", None), "conv", None)
    chosen = getattr(setting, "fp32_precision", "none")
    return chosen if chosen in ("tf32", "bf16") else name


def _tf32() -> bool:
    conv: Any = getattr(torch.backends.cudnn, "conv", None)
    if hasattr(conv, "fp32_precision"):
        return conv.fp32_precision == "tf32"
    try:
        return bool(torch.backends.cudnn.allow_tf32)
    except RuntimeError:
        return True


def commit() -> str:
    """The commit of the checkout that refconv runs from, with ``+`` if it was changed; empty
    outside of one.
    """
    here = Path(__file__).resolve().parent.parent.parent
    if not (here / ".git").exists():
        return ""

    def git(*args: str) -> str:
        command = ["git", "-C", str(here), *args]
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()

    try:
        head = git("rev-parse", "--short=12", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return ""
    return head + ("+" if changed else "")


def machine() -> str:
    """A short name for a folder: ``cpu-epyc-25.17-2core``."""
    text = cpu_model().lower()
    named = re.search(r"epyc|xeon|ryzen|threadripper|core|apple m\d+|neoverse|graviton", text)
    numbers = re.search(r"\(family (\d+) model (\d+)\)", text)
    words = ["cpu", (named[0] if named else platform.machine()).replace(" ", "-")]
    words += [f"{numbers[1]}.{numbers[2]}"] if numbers else []
    return "-".join([*words, f"{cores()}core"])


def history() -> Path:
    """The folder of this machine's recorded runs.

    Raises:
        UsageError: refconv does not run from a checkout.
    """
    root = Path(__file__).resolve().parent.parent.parent / "bench" / "history"
    if not root.is_dir():
        raise UsageError(f"--save: {root} is not there: this is no checkout; use --records FILE")
    return root / machine()


def equal_threads() -> dict[str, int]:
    """Give Numba as many threads as torch uses; says what each has then.

    ``numba.set_num_threads`` starts Numba's OpenMP layer, and that sets the number of threads of
    the whole process, torch's too: torch's is put back.
    """
    wanted, found = torch.get_num_threads(), {}
    if "numba" in sys.modules or _installed("numba"):
        import numba

        most: Any = numba.config
        numba.set_num_threads(min(wanted, most.NUMBA_NUM_THREADS))
        torch.set_num_threads(wanted)
        found["numba"] = numba.get_num_threads()
    return {"torch": torch.get_num_threads(), **found}


def _installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def steady_allocator() -> str:
    """Let glibc keep freed memory for the whole process, for both sides; says what was set.

    By default every large result is mapped afresh and page-faulted on every call, which costs torch
    up to 5 times the convolution itself: a comparison would measure the allocator.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return "default (no glibc)"
    trim, mmap = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
    done = mallopt(mmap, 1 << 30) and mallopt(trim, 2**31 - 1)
    return "glibc, freed memory kept (mallopt)" if done else "default (mallopt refused)"
