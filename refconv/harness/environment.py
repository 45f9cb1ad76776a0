"""Where a run happens: machine, versions, threads and the precision in effect, read and never
assumed.
"""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from .records import Environment


def describe(command: str) -> Environment:
    """Everything a reader of the records needs to know; sets equal threads and the steady allocator
    on the way.
    """
    return Environment(
        command=command,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        python=platform.python_version(),
        versions=versions(),
        cpu=cpu_model(),
        cores=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        threads=equal_threads(),
        precision={"cpu": precision("cpu")}
        | ({"cuda": precision("cuda")} if torch.cuda.is_available() else {}),
        allocator=steady_allocator(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        commit=commit(),
    )


def versions() -> dict[str, str]:
    """Versions of what computes."""
    found = {"refconv": __version__}
    for name in ("torch", "numpy", "numba"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def cpu_model() -> str:
    """The processor's name, as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


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


def equal_threads() -> dict[str, int]:
    """Give Numba as many threads as torch uses; says what each has."""
    threads = {"torch": torch.get_num_threads()}
    if "numba" in sys.modules or _installed("numba"):
        import numba

        most: Any = numba.config
        numba.set_num_threads(min(threads["torch"], most.NUMBA_NUM_THREADS))
        threads["numba"] = numba.get_num_threads()
    return threads


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
