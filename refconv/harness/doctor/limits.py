"""What the machine gives: processors, memory, room on the disk, folders that can be written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ...memory import available, gib
from .report import Finding

#: Bytes below which a run of compare, or what compilers leave, may not fit.
MEMORY, DISK = 1 << 30, 256 << 20
GROUPS = Path("/sys/fs/cgroup")


def quota(root: Path = GROUPS, path: str | None = None) -> float | None:
    """Processors that the control group lets this process use, or None: no limit.

    Args:
        path: of the group below ``root``; None: as /proc/self/cgroup has it.
    """
    limits = [_limit(folder) for folder in _groups(root, path)]
    return min((limit for limit in limits if limit is not None), default=None)


def _groups(root: Path, path: str | None) -> Iterator[Path]:
    """The group's folder and those above it, of both versions of control groups."""
    if path is None:
        try:
            lines = Path("/proc/self/cgroup").read_text().splitlines()
        except OSError:
            lines = []
        found = [line.split(":", 2) for line in lines if line.count(":") >= 2]
        names = [name for _, kinds, name in found if kinds == "" or "cpu" in kinds.split(",")]
        path = max(names, key=len, default="/")
    for base in (root, root / "cpu"):
        folder = base / path.strip("/")
        while True:
            yield folder
            if folder == base or base not in folder.parents:
                break
            folder = folder.parent


def _limit(folder: Path) -> float | None:
    """``cpu.max`` holds quota and period; version 1 has a file for each."""
    try:
        most, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            most = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        except OSError:
            return None
    return None if most.strip() in ("max", "-1") else int(most) / int(period)


def check(cores: int, threads: int) -> Iterator[Finding]:
    """Warnings only.

    Args:
        cores: that this process may be scheduled on.
        threads: that torch starts.
    """
    limit = quota()
    if limit is not None and limit < min(cores, threads or cores):
        text = f"a control group allows {limit:g} of {cores} processors, and torch has {threads} "
        whole = max(1, int(limit))
        fix = f"export OMP_NUM_THREADS={whole}, or raise the container's limit"
        yield Finding("warning", "processors", f"{text}threads, which wait for each other", fix)
    free = available()
    if free is not None and free < MEMORY:
        fix = "end what holds it, or choose smaller cases"
        yield Finding("warning", "memory", f"only {gib(free)} are free", fix)
    yield from _folders()


def _folders() -> Iterator[Finding]:
    """Where what is compiled is kept."""
    from importlib.util import find_spec

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    ours = cache / "refconv"
    if not writable(ours):
        fix = "set XDG_CACHE_HOME to a folder that can be written"
        yield Finding(
            "warning", "cache", f"{ours} cannot be written: nothing compiled is kept", fix
        )
    else:
        free = shutil.disk_usage(_there(ours)).free
        if free < DISK:
            fix = "free some, or set XDG_CACHE_HOME"
            yield Finding("warning", "disk", f"only {gib(free)} are free for {ours}", fix)
    spec = find_spec("refconv.kernels.numba_cpu")
    if spec is None or not spec.submodule_search_locations:
        return
    beside = Path(next(iter(spec.submodule_search_locations))) / "__pycache__"
    named = os.environ.get("NUMBA_CACHE_DIR")
    places = [Path(named)] if named else [beside, cache / "numba"]
    if not any(writable(place) for place in places):
        where = " nor ".join(str(place) for place in places)
        fix = "set NUMBA_CACHE_DIR to a folder that can be written"
        yield Finding("failed", "Numba's cache", f"neither {where} can be written", fix)


def _there(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next((p for p in (path, *path.parents) if p.exists()), Path("/"))


def writable(path: Path) -> bool:
    """Whether a folder can be written, or made."""
    found = _there(path)
    return found.is_dir() and os.access(found, os.W_OK | os.X_OK)
