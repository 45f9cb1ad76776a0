"""Records: what a run writes down, as typed structs and as JSON lines that are only ever appended.

One line a record, flushed as it is made, so that an interrupted run keeps what it has. Schema
``refconv.compare/1``, of benchmarks ``refconv.bench/1``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import msgspec

from ..errors import UsageError

SCHEMA, BENCH = "refconv.compare/1", "refconv.bench/1"
#: ``Check.result`` of a layer's result in the run of the whole model.
PROPAGATED = "propagated"
#: ``Check.rule`` where no bound is proven: how far a result is from float64 is said, not judged.
DISTANCE = "distance from torch in float64"


class Check(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One result of one candidate on one kind of data, and what the oracle said.

    Args:
        result: output, indices, grad_input, grad_weight, grad_bias, or a layer's name.
        data: integer, real or image.
        kind: ok, shape, dtype, value, noise (suspect: inside the proof, beyond the usual rounding),
            unjudged, guard, missing or error.
        rule: formula of the bound; ``terms``: the largest number of terms; ``exact``: share of
            cells that must be equal.
        max_error: absolute; None where there is none to speak of (shapes differ, NaN).
        ratio: error / bound in the worst cell; None if infinite (``wrong`` is then above 0) and
            where there is no bound (rule ``DISTANCE``).
        detects: the smallest fault that is surely caught, relative to a typical result.
        noise: root mean square of error / expected rounding noise; None where that is not known.
    """

    result: str
    data: str
    ok: bool
    kind: str = "ok"
    reason: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    rule: str = ""
    terms: int = 0
    exact: float = 0.0
    max_error: float | None = None
    worst: tuple[int, ...] | None = None
    ratio: float | None = None
    wrong: int = 0
    cells: int = 0
    unjudged: int = 0
    detects: float | None = None
    noise: float | None = None


class Timing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Times of one candidate, in nanoseconds per call.

    Args:
        samples_ns: raw, one a round; ``clean`` says which rounds no other process disturbed.
        busy: whether too few were clean, so that all count: these times are not to be trusted.
        vs_torch: median over rounds of this candidate's time over torch's on the same device; below
            1 is faster.
    """

    timer: str
    calls: int
    samples_ns: tuple[float, ...]
    clean: tuple[bool, ...]
    busy: bool = False
    median_ns: float
    iqr_ns: float
    vs_torch: float | None = None


class Result(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="result", tag_field="record"
):
    """One candidate on one case.

    Args:
        label: the case as text that ``refconv compare`` takes back; of a whole model (op
            ``model``) as words of a command line, ``model.py:Net --in 3x32x32``.
        work: multiply-accumulates of a convolution, else the steps of the innermost loop.
        backend: as asked for; ``algorithm``: what ran.
        precision: in effect while it ran.
        status: ok, suspect, wrong, error, doubt (the two references disagree) or skipped.
        arithmetic: which arithmetic the output's errors on real data show.
    """

    case: str
    label: str
    op: str
    backend: str
    device: str
    status: str
    source: str = ""
    dtype: str = ""
    input_shape: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    work: int = 0
    seed: int = 0
    algorithm: str = ""
    precision: str = ""
    arithmetic: str = ""
    reason: str = ""
    hint: str = ""
    checks: tuple[Check, ...] = ()
    timing: Timing | None = None
    schema: str = SCHEMA


class Environment(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="run", tag_field="record"
):
    """Where, with what and how a run was made: its first line."""

    command: str
    started: str
    python: str
    versions: dict[str, str]
    cpu: str
    cores: int
    threads: dict[str, int]
    precision: dict[str, str]
    allocator: str
    gpu: str = ""
    commit: str = ""
    governor: str = ""
    schema: str = SCHEMA


class Ceilings(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    tag="ceilings",
    tag_field="record",
):
    """What the machine could do at that moment, on as many threads as the run uses.

    Args:
        copy: bytes read and written per second, of arrays larger than the caches.
        fma: float32 operations per second of multiply-adds in registers, two each.
        sgemm: the same of a large matrix product, and ``by``: whose.
    """

    copy: float
    fma: float
    sgemm: float
    by: str
    threads: int


class Bench(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="bench", tag_field="record"
):
    """One candidate's time in one pass of one case.

    Args:
        way: fprop, indices, dgrad, wgrad or train.
        accuracy: strict or fast; empty for others than refconv.
        algorithm: what ran, one name a slot.
        status: ok, noise (inconclusive: too few quiet rounds, or a wide interval around 1),
            suspect, wrong, error or skipped. A time is there only for the first three.
        flops, moved: operations of the direct sum, and bytes of the arrays read and written once.
        checks: of the results of the last timed launch; where something failed, of what failed.
        interval: of the median of the clean rounds' ratios to torch, 95 %.
        predicted: nanoseconds, by the cost model.
        chosen: the accuracies at which refconv would take this algorithm.
    """

    case: str
    label: str
    op: str
    way: str
    backend: str
    status: str
    source: str = ""
    dtype: str = ""
    accuracy: str = ""
    algorithm: str = ""
    precision: str = ""
    cold: bool = False
    flops: int = 0
    moved: int = 0
    seed: int = 0
    reason: str = ""
    hint: str = ""
    checks: tuple[Check, ...] = ()
    timing: Timing | None = None
    interval: tuple[float, float] | None = None
    predicted: float | None = None
    chosen: tuple[str, ...] = ()
    schema: str = BENCH


Record = Result | Environment | Ceilings | Bench
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Record)


def stamped(run: Environment) -> Environment:
    """The first line of a benchmark's records."""
    return msgspec.structs.replace(run, schema=BENCH)


def encode(record: Record) -> bytes:
    """One line of JSON, without its end."""
    return _encoder.encode(record)


class Writer:
    """Appends records to a file, each flushed at once.

    Raises:
        UsageError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.count = path, 0
        try:
            self._file = path.open("a+b")
            if self._file.tell():  # a line that a killed run left unfinished is ended first
                self._file.seek(-1, os.SEEK_END)
                if self._file.read(1) != b"\n":
                    self._file.write(b"\n")
        except OSError as error:
            raise UsageError(f"--records: {path} cannot be written: {error.strerror}") from None

    def write(self, record: Record) -> None:
        """Append one record."""
        self._file.write(encode(record) + b"\n")
        self._file.flush()
        self.count += isinstance(record, Result | Bench)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


def read(path: Path) -> Iterator[Record]:
    """The records of a file, in order; a line that was cut off (by a killed run) is left out.

    Raises:
        UsageError: the file cannot be read, or a line is no record.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    for number, line in enumerate(lines[:-1], start=1):
        if not line.strip():
            continue
        try:
            yield _decoder.decode(line)
        except msgspec.ValidationError as error:
            raise UsageError(
                f"{path}, line {number}: no record of {SCHEMA} or {BENCH}: {error}"
            ) from None
        except msgspec.DecodeError:
            continue


def default_path() -> Path:
    """``refconv-records.jsonl`` in the current folder, or what ``REFCONV_RECORDS`` says."""
    return Path(os.environ.get("REFCONV_RECORDS", "refconv-records.jsonl"))
