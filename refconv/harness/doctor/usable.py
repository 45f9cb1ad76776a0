"""The backends, one by one: usable here, or why not; what is missing matters where a GPU waits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from ...backends import _cuda_cupy, get, registry, unavailable
from ...dispatch import PREFERENCE
from .report import Finding, reasoned

#: Backends that need a package which refconv does not bring along, and its module.
PACKAGES = {"cupy": "cupy", "numba-cuda": "numba_cuda"}
#: What helps where a backend is asked for and the machine has no GPU.
ELSEWHERE = "run it on a machine with an NVIDIA GPU and its driver"


def check(named: Sequence[str], has_gpu: bool) -> Iterator[Finding]:
    """A line of those that run, and one for each that does not.

    Args:
        named: those that must run.
        has_gpu: whether the driver sees a GPU.
    """
    for name in named:
        get(name)  # refuse an unknown one
    usual = [name for names in PREFERENCE.values() for name in names]
    reasons = {n: unavailable(n) for n in (*usual, *(n for n in registry() if n not in usual))}
    able = [name for name, reason in reasons.items() if reason is None]
    kinds = ", ".join(f"{name} ({get(name).about})" for name in able if name not in usual)
    auto = [name for name in able if name in usual]
    yield Finding("ok", "backends", f"{', '.join(auto)}{f'; by name only: {kinds}' * bool(kinds)}")
    found: dict[tuple[str, str], list[str]] = {}
    for name, reason in reasons.items():
        if reason is not None:
            found.setdefault((_state(name, name in named, has_gpu), reason), []).append(name)
    for (state, reason), names in found.items():
        yield reasoned(state, ", ".join(names), reason, ELSEWHERE)


def _state(name: str, is_named: bool, has_gpu: bool) -> str:
    """What it means that a backend cannot run."""
    twice = name == "cupy" and len(_cuda_cupy.installed()) > 1
    if is_named or twice or (get(name).device == "cpu" and name != "cuda-on-cpu"):
        return "failed"
    if not has_gpu or name not in PACKAGES:
        return "note"
    return "failed" if find_spec(PACKAGES[name]) else "warning"
