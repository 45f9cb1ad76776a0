"""The journal of a check: a line of JSON a case, written as it is known, so that a stopped run can
go on where it was.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import msgspec

from ...errors import UsageError
from .job import Job
from .trial import Outcome

SCHEMA = "refconv.check/1"


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="check"):
    """The line before a job's outcomes: which cases its indices speak of."""

    target: str
    op: str
    device: str
    precision: str
    algorithm: str
    dtypes: tuple[str, ...]
    seed: int
    cases: int
    digest: str
    schema: str = SCHEMA


_decoder = msgspec.json.Decoder(Started | Outcome)


def started(job: Job) -> Started:
    """The line that begins ``job``."""
    return Started(
        target=job.target,
        op=job.op,
        device=job.settings.device,
        precision=job.settings.precision,
        algorithm=job.settings.algorithm,
        dtypes=job.dtypes,
        seed=job.seed,
        cases=len(job.cases),
        digest=sha256("\n".join(map(repr, job.cases)).encode()).hexdigest()[:16],
    )


class Journal:
    """Appends to a file; reads back what an earlier run left of the same job.

    Args:
        path: None writes nothing.
        resume: whether outcomes that are there already are taken over.

    Raises:
        UsageError: the file cannot be read or written, or is no journal.
    """

    def __init__(self, path: Path | None, resume: bool = False) -> None:
        self._known: dict[Started, list[Outcome]] = {}
        self._file = None
        if path is None:
            return
        if resume and path.exists():
            self._read(path)
        try:
            self._file = path.open("ab")
        except OSError as error:
            raise UsageError(f"--records: {path} cannot be written: {error.strerror}") from None

    def _read(self, path: Path) -> None:
        job: Started | None = None
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError as error:
            raise UsageError(f"--resume: {path} cannot be read: {error.strerror}") from None
        for number, line in enumerate(lines, 1):
            try:
                record = _decoder.decode(line)
            except msgspec.ValidationError as error:
                text = f"{path}, line {number}: no record of {SCHEMA}: {error}"
                raise UsageError(text) from None
            except msgspec.DecodeError:  # empty, or cut off by the end of a run
                continue
            if isinstance(record, Started):
                job = record
            elif job is not None:
                self._known.setdefault(job, []).append(record)

    def begin(self, job: Job) -> list[Outcome]:
        """Write that ``job`` begins; its outcomes that are known already."""
        if self._file is None and not self._known:
            return []
        line = started(job)
        self.write(line)
        return list({o.index: o for o in self._known.get(line, [])}.values())

    def write(self, record: Started | Outcome) -> None:
        """Append one line, at once."""
        if self._file is not None:
            self._file.write(msgspec.json.encode(record) + b"\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
