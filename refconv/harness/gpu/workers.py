"""The processes of a run, seen from outside: started, fed, watched, and started anew.

A kernel that fails can take its process along, or leave an error in it that fails every later call,
or never end. So the process that tells the story touches no GPU; what a lost worker was at is
written down as what became of its item.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock, Thread, Timer
from typing import Any

Item = dict[str, Any]
#: Seconds that a worker may be silent.
PATIENCE = 60.0
#: Losses after which a family of items is not tried any more.
ENOUGH = 3
#: Characters of a lost worker's last words.
WORDS = 400


def command(kind: str) -> list[str]:
    """What a worker is started with."""
    return [sys.executable, "-m", f"{__package__}.worker", kind]


class Worker:
    """One process, started when it is asked first, and again when it was lost.

    Args:
        command: that starts it; ``around``: what is put before it (a sanitizer).
        patience: seconds of silence that are taken for a hang.
        threads: that it may use; 0: all.
        more: environment variables.
    """

    def __init__(
        self,
        command: list[str],
        *,
        around: Iterable[str] = (),
        patience: float = PATIENCE,
        threads: int = 0,
        more: dict[str, str] | None = None,
    ) -> None:
        self.command, self.patience = [*around, *command], patience
        self.env = {**os.environ, **(more or {}), "PYTHONPATH": _path()}
        if threads:
            self.env |= {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "NUMBA")}
        self.losses = 0
        self._process: subprocess.Popen[str] | None = None
        self._words = tempfile.TemporaryFile()  # noqa: SIM115

    def ask(self, item: Item, until: float = float("inf")) -> Item:
        """The record of an item; of a worker that was lost with it: what is known.

        Args:
            until: moment (``time.monotonic``) at which it is stopped; its record says ``late``.
        """
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        where, cause = "", ""

        def stop(why: str) -> None:
            nonlocal cause
            cause = why
            process.kill()

        try:
            process.stdin.write(json.dumps(item) + "\n")
            process.stdin.flush()
            while True:
                left = until - time.monotonic()
                late = left < self.patience
                why = "late" if late else f"hung: silent for {self.patience:.0f} s"
                watch = Timer(max(0.0, min(self.patience, left)), stop, (why,))
                watch.daemon = True
                watch.start()
                line = process.stdout.readline()
                watch.cancel()
                if not line:
                    break
                said = json.loads(line)
                if "done" in said:
                    record: Item = said["done"]
                    if record.get("poisoned"):
                        self.losses += 1
                        self._reap()
                        record["reason"] = f"{record.get('reason', '')} (at {where})"
                    return record
                where = said["at"]
        except (OSError, ValueError) as error:
            cause = cause or f"{type(error).__name__}: {error}"
        code = self._reap()
        if cause == "late":
            return {**item, "status": "late", "reason": f"stopped in time, at {where}"}
        self.losses += 1
        status = "hung" if cause.startswith("hung") else "crashed"
        reason = cause or f"the process ended with {code}: {self._last_words()}"
        return {**item, "status": status, "reason": f"{reason} (at {where or 'its start'})"}

    def finish(self) -> None:
        """Let the process end by itself, so that what is around it can say what it saw."""
        process = self._process
        if process is not None and process.stdin is not None:
            process.stdin.close()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
        self.close()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._reap()
        self._words.close()

    def _start(self) -> subprocess.Popen[str]:
        self._words.seek(0)
        self._words.truncate()
        self._process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._words,
            text=True, env=self.env,
        )  # fmt: skip
        return self._process

    def _reap(self) -> int:
        process, self._process = self._process, None
        assert process is not None
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:  # its end is gone
                    continue
        try:
            return process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _last_words(self) -> str:
        self._words.seek(0)
        text = self._words.read().decode(errors="replace")
        return " ".join(text.split())[-WORDS:] or "no message"


def _path() -> str:
    """Where refconv is, for a process that may start elsewhere."""
    root = str(Path(__file__).resolve().parents[3])
    before = os.environ.get("PYTHONPATH", "")
    return f"{root}{os.pathsep}{before}" if before else root


def share(
    groups: Iterable[list[Item]],
    make: Callable[[], Worker],
    count: int,
    until: float,
    tell: Callable[[Item], Any],
    family: Callable[[Item], str],
) -> int:
    """Give groups of items to ``count`` workers, each the next one as it comes; returns how many
    items were left when time was over.

    Args:
        until: moment (``time.monotonic``) at which it ends.
        tell: given every record that says something, by any thread.
        family: items of one name are given up after ``ENOUGH`` of them were lost.
    """
    waiting, lost, lock = deque(groups), Counter[str](), Lock()
    left = sum(map(len, waiting))

    def work() -> None:
        worker = make()
        try:
            while True:
                with lock:
                    group = waiting.popleft() if waiting else []
                if not group or not do(worker, group):
                    return
        finally:
            worker.close()

    def do(worker: Worker, group: list[Item]) -> bool:
        nonlocal left
        for item in group:
            if time.monotonic() >= until:
                return False
            tried = lost[family(item)]
            if tried >= ENOUGH:
                reason = f"not tried: {family(item)} was lost {tried} times before"
                record = {**item, "status": "given up", "reason": reason}
            else:
                losses = worker.losses
                record = worker.ask(item, until)
                with lock:
                    lost[family(item)] += worker.losses > losses
            if record["status"] == "late":
                return False
            tell(record)
            with lock:
                left -= 1
        return True

    threads = [Thread(target=work, daemon=True) for _ in range(max(1, min(count, len(waiting))))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return left
