"""The backends, one by one: usable here, or why not; what is missing matters where a GPU waits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from ...backends import _cuda_cupy, get, registry, unavailable
from .report import Finding, reasoned

#: Backends that need a package which refconv does not bring along, and its module.
PACKAGES = {"cupy": "cupy", "numba-cuda": "numba_cuda"}


def check(named: Sequence[str], has_gpu: bool) -> Iterator[Finding]:
    """A line of those that run, and one for each that does not.

    Args:
        named: those that must run.
        has_gpu: whether the driver sees a GPU.
    """
    for name in named:
        get(name)  # refuse an unknown one
    reasons = {name: unavailable(name) for name in registry()}
    able = [f"{n} ({get(n).about})" for n, reason in reasons.items() if reason is None]
    yield Finding("ok", "backends", " · ".join(able))
    for name, reason in reasons.items():
        if reason is not None:
            yield reasoned(_state(name, name in named, has_gpu), name, reason)


def _state(name: str, is_named: bool, has_gpu: bool) -> str:
    """What it means that a backend cannot run."""
    twice = name == "cupy" and len(_cuda_cupy.installed()) > 1
    if is_named or twice or (get(name).device == "cpu" and name != "cuda-on-cpu"):
        return "failed"
    if not has_gpu or name not in PACKAGES:
        return "note"
    return "failed" if find_spec(PACKAGES[name]) else "warning"
