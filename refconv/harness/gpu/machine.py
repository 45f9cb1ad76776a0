"""What the machine is: GPU, driver, versions, why a backend cannot run; which kernels these are."""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ... import __version__
from ..versions import version

PACKAGES = ("torch", "numpy", "numba", "numba-cuda", "cupy-cuda12x", "cupy-cuda13x", "cupy",
            "cuda-bindings", "nvidia-cuda-nvrtc", "nvidia-cudnn-cu13", "triton")  # fmt: skip
#: What nvidia-smi is asked for besides; the answer is noted beside every time.
CLOCKS = ("clocks.sm", "clocks.mem", "temperature.gpu", "power.draw")
#: Folders of the tree, and the suffixes that decide what a run finds.
SOURCES = {"refconv": (".py",), "kernels": (".py", ".cu", ".cuh", ".h", ".cpp")}
#: Parts of refconv that only show what was found.
SHOWN = ("cli",)


def tree() -> str:
    """A digest of kernels, backends, oracle and harness: records of another tree say nothing of
    this one.

    Not the commit: a tree that travels without its history has none, and one that is being worked
    on is none.
    """
    package = Path(__file__).resolve().parents[2]
    found: dict[str, bytes] = {}
    for name, suffixes in SOURCES.items():
        places = (package.parent / name, package / name)
        folder = package if name == "refconv" else next(p for p in places if p.is_dir())
        for path in folder.rglob("*"):
            parts = path.relative_to(folder).parts
            if path.suffix in suffixes and parts[0] not in SHOWN and "__pycache__" not in parts:
                found[f"{name}/{'/'.join(parts)}"] = path.read_bytes()
    sha = hashlib.sha256()
    for name, content in sorted(found.items()):
        sha.update(f"{name} {len(content)}\n".encode() + content)
    return sha.hexdigest()[:12]


def slug(gpu: str) -> str:
    """A GPU's name as a folder.

    Example:
        >>> slug("NVIDIA H200"), slug("NVIDIA GeForce RTX 4090")
        ('h200', 'geforce-rtx-4090')
    """
    words = re.sub(r"[^a-z0-9]+", " ", gpu.lower().replace("nvidia", " ")).split()
    return "-".join(words) or "gpu"


def versions() -> dict[str, str]:
    """Of what is installed and matters."""
    known = {name: told for name in PACKAGES if (told := version(name))}
    return {"refconv": __version__, "python": platform.python_version(), **known}


def probes(names: Iterable[str]) -> dict[str, str]:
    """Backend → why it cannot be used here; empty if it can."""
    from ...backends import unavailable

    return {name: unavailable(name) or "" for name in names}


def torch_reason() -> str:
    """Why torch sees no GPU here, or nothing."""
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} sees no CUDA device"
    return ""


def describe(backends: Iterable[str]) -> dict[str, Any]:
    """All of it; ``torch`` is the reason why torch cannot be used, or empty."""
    import torch

    from .. import environment

    reason = torch_reason()
    found: dict[str, Any] = {
        "torch": reason,
        "probes": probes(backends),
        "versions": versions(),
        "cpu": environment.cpu_model(),
        "cores": environment.cores(),
        "commit": environment.commit(),
        "precision": environment.precision("cuda"),  # torch's default: nothing has set it
    }
    if reason:
        return found
    gpu = torch.cuda.get_device_properties(0)
    return found | {
        "gpu": gpu.name,
        "arch": f"sm_{gpu.major}{gpu.minor}",
        "multiprocessors": gpu.multi_processor_count,
        "memory": gpu.total_memory,
        "l2": getattr(gpu, "L2_cache_size", 0),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "driver": smi("driver_version").get("driver_version", ""),
        "clocks": smi(*CLOCKS),
    }


def smi(*names: str) -> dict[str, str]:
    """What nvidia-smi says of the first GPU; ``error`` if it says nothing."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {"error": "nvidia-smi not found"}
    command = [tool, f"--query-gpu={','.join(names)}", "--format=csv,noheader,nounits", "-i", "0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError) as error:
        return {"error": f"nvidia-smi: {type(error).__name__}"}
    values = [value.strip() for value in done.stdout.strip().split(",")]
    if done.returncode or len(values) != len(names):
        return {"error": f"nvidia-smi: {(done.stderr or done.stdout).strip()[:200]}"}
    return dict(zip(names, values, strict=True))


class Clocks:
    """The GPU's clocks and heat, read through NVML, else by nvidia-smi, which takes longer."""

    def __init__(self) -> None:
        self._handle: Any = None
        try:
            import pynvml

            pynvml.nvmlInit()
            self._nvml, self._handle = pynvml, pynvml.nvmlDeviceGetHandleByIndex(0)
        except Exception:  # not installed, or no driver that it knows
            self._handle = None

    def read(self) -> dict[str, str]:
        """Megahertz, degrees, watts, by nvidia-smi's names."""
        if self._handle is None:
            return smi(*CLOCKS)
        n, h = self._nvml, self._handle
        try:
            values = (
                n.nvmlDeviceGetClockInfo(h, n.NVML_CLOCK_SM),
                n.nvmlDeviceGetClockInfo(h, n.NVML_CLOCK_MEM),
                n.nvmlDeviceGetTemperature(h, n.NVML_TEMPERATURE_GPU),
                round(n.nvmlDeviceGetPowerUsage(h) / 1000),
            )
        except n.NVMLError as error:
            return {"error": f"NVML: {error}"}
        return dict(zip(CLOCKS, map(str, values), strict=True))
