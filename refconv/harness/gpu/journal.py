"""What a run has found: JSON lines that are only ever appended, each flushed at once, so that an
interrupted run keeps what it has and the next one goes on from there.

Schema ``refconv.gpu/1``. A record is of one item, by its key; it also says of which GPU and of
which kernels it tells, and only such records stand for an item that is done.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from ...errors import UsageError

SCHEMA = "refconv.gpu/1"
Record = dict[str, Any]


class Journal:
    """A file of records, and those among them that are about the same thing.

    Args:
        path: appended to; None: nothing is written.
        about: ``gpu``, ``tree`` and ``rehearsal``, which all records here have in common.
        known: files that are read first: their records of the same thing are done. None: all is
            done anew.

    Raises:
        UsageError: the file cannot be written.
    """

    def __init__(self, path: Path | None, about: Record, known: Iterable[Path] = ()) -> None:
        self.path, self.about = path, about
        self.done: dict[str, Record] = {}
        self._lock = Lock()
        for file in known:
            self.done |= {r["key"]: r for r in read(file) if about.items() <= r.items()}
        self._file = None
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
            if self._file.tell():  # a line that a killed run left unfinished is ended first
                self._file.seek(-1, os.SEEK_END)
                if self._file.read(1) != b"\n":
                    self._file.write(b"\n")
        except OSError as error:
            raise UsageError(f"--records: {path} cannot be written: {error.strerror}") from None

    def write(self, record: Record) -> Record:
        """Append a record, which must have a ``key``; returns it as it was written."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        whole = {"record": "gpu", **_finite(record), **self.about, "at": at, "schema": SCHEMA}
        with self._lock:
            self.done[whole["key"]] = whole
            if self._file is not None:
                line = json.dumps(whole, ensure_ascii=False, allow_nan=False, default=str)
                self._file.write(line.encode() + b"\n")
                self._file.flush()
        return whole

    def kind(self, kind: str) -> list[Record]:
        """The records of one kind, in the order in which they were made."""
        return [r for r in self.done.values() if r.get("kind") == kind]

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _finite(value: Any) -> Any:
    """Without what JSON does not know: a number that is not finite is null."""
    if isinstance(value, dict):
        return {name: _finite(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read(path: Path) -> list[Record]:
    """The records of a file; none if it is not there. Lines that were cut off, or are no records of
    this kind, are left out.
    """
    if not path.is_file():
        return []
    found = []
    for line in path.read_bytes().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and record.get("schema") == SCHEMA and "key" in record:
            found.append(record)
    return found
