"""The GPUs: what they are, whether the kernels and torch can use them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...backends import _cuda_reasons as reasons
from ...memory import gib
from .driver import Driver, Gpu
from .report import Finding, reasoned

#: Bytes that should be free on a GPU: a context alone takes half of it.
LITTLE = 1 << 30
TORCH_BUILDS = "https://pytorch.org/get-started/locally"


def check(driver: Driver, torch: Any) -> Iterator[Finding]:
    """A line for every GPU, or why there is none; then torch's view of them.

    Args:
        torch: the module, or None.
    """
    if driver.reason == reasons.NO_GPU:
        yield Finding("note", "GPU", driver.reason)
        return
    if driver.reason:
        hidden = "CUDA_VISIBLE_DEVICES" in driver.reason
        yield reasoned("warning" if hidden else "failed", "GPU", driver.reason)
        return
    usable = any(reasons.old_card(gpu.capability) is None for gpu in driver.gpus)
    for gpu in driver.gpus:
        yield from _gpu(gpu, driver, usable)
    if torch is not None:
        yield from _torch(driver, torch)


def _gpu(gpu: Gpu, driver: Driver, usable: bool) -> Iterator[Finding]:
    room = f"{gib(gpu.free)} of {gib(gpu.memory)} free" if gpu.free is not None else gib(gpu.memory)
    knows = f"driver {driver.version} knows CUDA {reasons.version(driver.cuda)}".replace("  ", " ")
    what = f"{gpu.index} {gpu.name} {gpu.sm}"
    old = reasons.old_card(gpu.capability)
    if old is not None:
        yield reasoned("warning" if usable else "failed", "GPU", f"{what}: {old}")
    elif gpu.free is not None and gpu.free < LITTLE:
        fix = "nvidia-smi lists the processes that hold it; end them, or make batches smaller"
        yield Finding("warning", "GPU", f"{what}: only {room} · {knows}", fix)
    else:
        yield Finding("ok", "GPU", f"{what}, {room} · {knows}; NVRTC compiles, no nvcc is needed")


def _torch(driver: Driver, torch: Any) -> Iterator[Finding]:
    """Whether torch can use what the driver sees."""
    built, major = torch.version.cuda, driver.cuda // 1000
    named = f"torch {torch.__version__}"
    if built is None:
        fix = f"install torch's build for CUDA {major} ({TORCH_BUILDS}), or use CuPy arrays"
        yield Finding("warning", "torch", f"{named} is built without CUDA, and there is a GPU", fix)
    elif int(built.partition(".")[0]) > major:
        text = f"{named} needs CUDA {built}, and the driver knows {reasons.version(driver.cuda)}"
        fix = f"update the driver, or install torch's build for CUDA {major} ({TORCH_BUILDS})"
        yield Finding("failed", "torch", text, fix)
    elif not torch.cuda.is_available():
        text = f"{named} sees no CUDA device, though the driver does"
        yield Finding("failed", "torch", text, 'python -c "import torch; torch.zeros(1).cuda()"')
    else:
        known = torch.cuda.get_arch_list()
        oldest = min((int(a[3:].rstrip("af")) for a in known if a.startswith("sm_")), default=0)
        for gpu in driver.gpus:
            if gpu.capability[0] * 10 + gpu.capability[1] < oldest:
                text = f"{named} has no kernels for {gpu.sm} (GPU {gpu.index}); it has {oldest} on"
                yield Finding(
                    "warning", "torch", text, "install an older torch, or use CuPy arrays"
                )
