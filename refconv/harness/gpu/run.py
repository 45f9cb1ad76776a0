"""The run: every step in order of importance, inside its budget; nothing that is known is done
twice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

from ...errors import UnavailableError, UsageError
from . import machine, sanitizer, table
from .device import BACKENDS
from .journal import Journal
from .workers import Worker, command, share

Item = dict[str, Any]
#: Shares of the budget by whose end a step is over.
COMPILE, VERIFY = 0.2, 0.5
#: Seconds kept for the names of torch's kernels, and processes that verify side by side at most.
RESERVE, SIDE = 20.0, 6
STEPS = ("compile", "verify", "sanitize", "ceilings", "time")


@dataclass(frozen=True)
class Options:
    """What to run.

    Args:
        device: cuda, or cpu for a rehearsal.
        budget: seconds.
        records: where they go; None: $OUT, or bench/history of a checkout.
        only: items are done whose key holds one of these; empty: all.
        rows: most rows that are timed.
    """

    device: str = "cuda"
    budget: float = 420.0
    resume: bool = False
    records: Path | None = None
    only: tuple[str, ...] = ()
    steps: tuple[str, ...] = STEPS
    rows: int = 10_000


def run(options: Options, say: Callable[[str], None] = print) -> int:
    """Run, print the page; 0, or 1 if anything is wrong.

    Raises:
        UnavailableError: there is no GPU, with each library's reason.
        UsageError: a step is unknown, or records cannot be written.
    """
    unknown = set(options.steps) - set(STEPS)
    if unknown:
        raise UsageError(f"--steps: must be among {', '.join(STEPS)}, got {sorted(unknown)[0]!r}")
    whole = Run(options, time.monotonic())
    try:
        for line in whole.go(say):
            say(line)
    finally:
        whole.journal.close()
    return int(table.failed(whole.journal))


class Run:
    """One run on one machine."""

    def __init__(self, options: Options, start: float) -> None:
        self.options, self.start = options, start
        self.rehearsal = options.device == "cpu"
        names = BACKENDS[options.device]
        asked = {"kind": "machine", "key": "machine", "backends": names}
        worker = Worker(command(options.device))
        self.machine = worker.ask(asked, self.until(1.0))
        worker.close()
        if self.machine.get("status") in table.BAD:
            raise UnavailableError(f"refconv gpu: {self.machine['reason']}")
        reasons = {n: r for n, r in self.machine["probes"].items() if r}
        no_torch = "" if self.rehearsal else self.machine["torch"]
        if no_torch or len(reasons) == len(names):
            told = ([no_torch] if no_torch else []) + [f"{n}: {r}" for n, r in reasons.items()]
            raise UnavailableError(f"refconv gpu needs a GPU: {'; '.join(told)}")
        self.backends = tuple(n for n in names if n not in reasons)
        gpu = self.machine.get("gpu", "rehearsal") if not self.rehearsal else "rehearsal"
        about = {"gpu": gpu, "tree": machine.tree(), "rehearsal": self.rehearsal}
        path, known = self._files(machine.slug(gpu))
        self.journal = Journal(path, about, known if options.resume else ())

    def until(self, share: float) -> float:
        """The moment at which this share of the budget is spent."""
        return self.start + share * self.options.budget

    def _files(self, slug: str) -> tuple[Path | None, list[Path]]:
        """Where records go, and where they may be from before."""
        history = Path(__file__).resolve().parents[3] / "bench" / "history"
        kept = history / slug / "gpu.jsonl"
        out = os.environ.get("OUT")
        if self.options.records is not None:
            return self.options.records, [kept, self.options.records]
        if self.rehearsal:  # never among what was measured
            return None, []
        path = Path(out) / "gpu.jsonl" if out else kept
        if not out and not history.is_dir():
            raise UsageError("refconv gpu: this is no checkout; use --records FILE")
        return path, [kept, path]

    def go(self, say: Callable[[str], None]) -> list[str]:
        """Do all steps; the page's lines."""
        self.journal.write({**self.machine, "status": "ok"})
        say(f"{self.journal.about['gpu']}: {', '.join(self.backends)}; torch's default for float32 "
            f"convolution is {self.machine['precision']}")  # fmt: skip
        for name, reason in self.machine["probes"].items():
            if reason:
                say(f"{name} is not available: {reason}")
        left = 0
        for step in STEPS:
            if step in self.options.steps:
                took = time.monotonic()
                left += getattr(self, f"_{step}")()
                say(f"{step}: {time.monotonic() - took:.0f} s")
        return list(table.lines(self.journal, left))

    def _open(self, items: list[Item]) -> list[Item]:
        """What is wanted and not done yet."""
        only = self.options.only
        return [
            i for i in items
            if i["key"] not in self.journal.done and (not only or any(o in i["key"] for o in only))
        ]  # fmt: skip

    def _side(self) -> int:
        return 1 if self.rehearsal else max(1, min(SIDE, self.machine["cores"] // 2))

    def _compile(self) -> int:
        """NVRTC, as many at once as there are cores; the emulator compiles when it is asked."""
        if self.rehearsal or "cupy" not in self.backends:
            return 0
        from . import compiling, rows

        timed = [rows.Row(**i["row"]) for i in rows.items()[:150]]
        arch, count = self.machine["arch"], self.machine["multiprocessors"]
        waiting = self._open(compiling.items(arch, timed, count))
        make = lambda: Worker(command("cuda"), threads=1)  # noqa: E731
        cores = max(1, self.machine["cores"] - 1)
        share([[i] for i in waiting], make, cores, self.until(COMPILE), self.journal.write, _family)
        return 0  # what is left is compiled when it is run

    def _verify(self) -> int:
        """Side by side, each process one slot and dtype at a time: it keeps what the oracle
        expects.
        """
        from . import verify

        groups: dict[tuple[str, str], list[Item]] = {}
        for item in self._open(verify.items(self.backends)):
            groups.setdefault((item["dtype"], item["slot"]), []).append(item)
        count = self._side()
        make = lambda: Worker(command(self.options.device), threads=2)  # noqa: E731
        until = self.until(VERIFY)
        return share(list(groups.values()), make, count, until, self.journal.write, _family)

    def _sanitize(self) -> int:
        """Both tools at once, each over every step in one dtype."""
        if self.rehearsal:
            return 0
        from . import verify

        seen: dict[tuple[str, str], Item] = {}
        for item in verify.items(tuple(b for b in self.backends if b == "cupy")):
            known = self.journal.done.get(item["key"], {})
            if item["backend"] == "cupy" and known.get("status") in ("ok", "wrong"):
                seen.setdefault((item["slot"], item["algorithm"]), item)
        todo = [t for t in sanitizer.TOOLS if f"sanitize/{t}" not in self.journal.done]
        until = self.until(VERIFY + 0.15)
        items = list(seen.values())
        threads = [
            Thread(target=lambda t=t: self.journal.write(sanitizer.check(t, items, until)))
            for t in todo
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return 0

    def _ceilings(self) -> int:
        items = self._open([{"kind": "ceilings", "key": "ceilings"}])
        make = lambda: Worker(command(self.options.device))  # noqa: E731
        return share([items], make, 1, self.until(1.0), self.journal.write, _family)

    def _time(self) -> int:
        """One process, one row after another; then, in it, the names of torch's kernels."""
        from . import rows

        lost = {
            f"{r['backend']}:{r['slot']}:{r['algorithm']}"
            for r in self.journal.kind("verify")
            if r["status"] in ("crashed", "hung", "given up") or r.get("poisoned")
        }
        waiting = self._open(rows.items(self.rehearsal))[: self.options.rows]
        worker = Worker(command(self.options.device), patience=120.0)
        done: list[Item] = []
        until = self.until(1.0) - (0.0 if self.rehearsal else RESERVE)
        while waiting and time.monotonic() < until:
            item = waiting.pop(0)
            found = worker.ask({**item, "excluded": sorted(lost)}, until)
            if found["status"] == "late":
                waiting.insert(0, item)
                break
            done.append(self.journal.write(found))
        for found in done:
            if time.monotonic() > self.until(1.0) or "torch" not in found:
                continue
            key = f"names/{found['key']}"
            asked = {"kind": "names", "key": key, "row": found["row"],
                     "layout": found["torch"].partition(" ")[2]}  # fmt: skip
            self.journal.write(worker.ask(asked, self.until(1.0)))
        worker.close()
        return len(waiting)


def _family(item: Item) -> str:
    """What is given up together."""
    words = [item.get(n, "") for n in ("backend", "slot", "algorithm")]
    return ":".join(words) if any(words) else item["key"]
