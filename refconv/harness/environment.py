"""Where a run happens: machine, versions, threads and the precision in effect, read and never
assumed.
"""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from . import timing
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
        threads=timing.equal_threads(),
        precision={"cpu": precision("cpu")}
        | ({"cuda": precision("cuda")} if torch.cuda.is_available() else {}),
        allocator=timing.steady_allocator(),
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
