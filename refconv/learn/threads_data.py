"""The thread that computes an output, as data, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.text import Text

from ..backends._cuda_access_log import Log
from ..backends._cuda_launch import Launch
from ..problem import Size

#: Bytes that a GPU's memory moves at least, of a line of 128; threads of a warp.
SECTOR, WARP = 32, 32


@dataclass(frozen=True)
class Use:
    """What a thread does with one array.

    Args:
        name: ``x``, ``w``, ``b``, ``y``, ``index``, a workspace, or shared memory.
        reads, writes: how often, as the kernel is compiled here.
        elements: those it reads (of its outputs: writes), in order, once each: indices of the
            user's array; of workspaces and shared memory the flat position.
        requests: loads of the whole warp, and their ``lanes``, ``sectors`` of 32 bytes, and the
            ``least`` that would hold what they load, added up; of global memory.
        holds: of shared memory and workspaces: array and index of the elements found there.
    """

    name: str
    reads: int
    writes: int
    elements: tuple[Size, ...]
    requests: int = 0
    lanes: int = 0
    sectors: int = 0
    least: int = 0
    holds: tuple[tuple[str, Size], ...] = ()


@dataclass(frozen=True)
class ThreadTrace:
    """The thread that computes an output.

    Args:
        step: of the ladder; ``others`` can run it too. ``launches``: of the step; ``launch`` is
            the one that writes the output.
        block, thread: (x, y, z); ``number``: of the thread in its block.
        stores: how often the block writes the output.
        bulk: accesses of the block that no thread makes (the tensor memory accelerator).
        window: elements of x that the output needs; ``own``: those that the thread itself loads
            from x; ``shared``: those it finds in shared memory or a workspace.
        log: everything that the block does.
    """

    at: Size
    step: str
    others: tuple[str, ...]
    launch: Launch
    launches: int
    block: Size
    thread: Size
    number: int
    stores: int
    bulk: int
    window: frozenset[Size]
    own: frozenset[Size]
    shared: frozenset[Size]
    uses: tuple[Use, ...]
    log: Log

    def lines(self, width: int = 100) -> list[Text]:
        """For a terminal, at most ``width`` columns."""
        launch = self.launch
        several = f", the last of {self.launches} launches" if self.launches > 1 else ""
        dynamic = f", {launch.shared:,} bytes of shared memory" if launch.shared else ""
        made = [
            Text(f"cuda:{self.step}   {launch.source}, {launch.kernel}{several}", "bold"),
            Text(f"  grid {_by(launch.grid)} of blocks of {_by(launch.block)} threads{dynamic}; "
                 "run on the CPU"),
            Text(f"  y[{_commas(self.at)}] is written by block {_commas(self.block)}, thread "
                 f"{_commas(self.thread)}: warp {self.number // WARP}, lane {self.number % WARP}"
                 f"{'' if self.stores == 1 else f'; {self.stores} times'}"),
            Text(f"  it reads {self._counts('reads')}; it writes {self._counts('writes')}"),
            Text(f"  {self._window()}"),
        ]  # fmt: skip
        made += [listed(u, width) for u in self.uses if u.reads and u.name in ("x", "w", "b")]
        made += [Text(f"  {coalescing(u, self.number // WARP)}") for u in self.uses if u.requests]
        if self.bulk:
            made.append(Text(f"  {self.bulk:,} accesses of the block are bulk copies, no thread's"))
        if self.others:
            made.append(Text(f"  other steps: {', '.join(f'cuda:{s}' for s in self.others)}"))
        return made

    def _counts(self, kind: str) -> str:
        parts = [f"{u.name} {getattr(u, kind):,}" for u in self.uses if getattr(u, kind)]
        return ", ".join(parts) or "nothing"

    def _window(self) -> str:
        """Where the thread has its window from."""
        need, own = len(self.window), len(self.own & self.window)
        if own == need:
            text = f"x of its window: {need:,} elements, all loaded by this thread itself"
        else:
            text = f"x of its window: {need:,} elements, {own:,} of them loaded by this thread"
        shared = len(self.shared & self.window)
        text += f"; {shared:,} found in shared memory or a workspace" if shared else ""
        missing = len(self.window - self.own - self.shared)
        return text + (f"; {missing:,} packed or transformed: not told apart" if missing else "")

    def to_json(self) -> dict[str, Any]:
        """As plain data; without the log."""
        uses = [
            {
                **vars(u),
                "elements": [list(e) for e in u.elements],
                "holds": [[name, list(e)] for name, e in u.holds],
            }
            for u in self.uses
        ]
        return {
            "step": self.step, "source": self.launch.source, "kernel": self.launch.kernel,
            "grid": list(self.launch.grid), "block_size": list(self.launch.block),
            "block": list(self.block), "thread": list(self.thread), "number": self.number,
            "stores": self.stores, "window": len(self.window),
            "own": len(self.own & self.window), "shared": len(self.shared & self.window),
            "uses": uses,
        }  # fmt: skip


def coalescing(use: Use, warp: int) -> str:
    """How the loads of a warp lie in memory."""
    n = use.requests
    times = "once" if n == 1 else f"{n:,} times"
    return (
        f"warp {warp} loads {use.name} {times}, on average for {use.lanes / n:.3g} lanes from "
        f"{use.sectors / n:.3g} sectors of {SECTOR} bytes ({use.least / n:.3g} at best)"
    )


def listed(use: Use, width: int) -> Text:
    """The first elements that are read."""
    text, shown = f"  {use.name}:", 0
    for element in use.elements:
        part = f" [{_commas(element)}]"
        if len(text) + len(part) > width - 12:
            break
        text, shown = text + part, shown + 1
    left = len(use.elements) - shown
    return Text(text + (f" … {left:,} more" if left else ""), "cyan")


def _by(size: Size) -> str:
    return "x".join(map(str, size))


def _commas(at: Size) -> str:
    return ",".join(map(str, at))
