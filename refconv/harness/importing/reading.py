"""Which importer a file is for, and what comes of its entries: cases, each problem once, and what
was refused.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ... import label, notation_benchdnn, notation_miopen
from ...errors import UsageError
from ...notation import Problem
from ..cases import Case

KINDS = (
    "a benchdnn batch file, a file of MIOpenDriver commands, a torch profiler trace or an ONNX "
    "model"
)


@dataclass(frozen=True)
class Entry:
    """One line, call or node of a file.

    Args:
        where: ``line 12``, ``node /layer1/Conv``, ``aten::conv2d (3 calls)``.
        text: what stands there.
        problem: what it asks for, or why refconv has no words for it.
        name: its own name, if it has one.
        count: how often it occurs; ``backward``: how often its gradients do.
        time: of all of them, in microseconds, where the file says it.
    """

    where: str
    text: str
    problem: Problem | str
    name: str = ""
    count: int = 1
    backward: int = 0
    time: float = 0.0


@dataclass(frozen=True)
class Refused:
    """What could not be expressed, and why."""

    where: str
    text: str
    reason: str

    def __str__(self) -> str:
        shown = self.text if len(self.text) <= 60 else self.text[:59] + "…"
        return f"{self.where}: {shown}: {self.reason}" if shown else f"{self.where}: {self.reason}"


@dataclass(frozen=True)
class Imported:
    """What a file came to.

    Args:
        kind: ``benchdnn batch file``, …
        cases: each problem once.
        entries: how many entries became a problem; ``refused`` are the others.
        note: what else the file holds that is not of this family, and was not asked for.
    """

    path: Path
    kind: str
    cases: list[Case]
    entries: int
    refused: list[Refused]
    note: str = ""

    def usable(self) -> list[Case]:
        """The cases.

        Raises:
            UsageError: there is none.
        """
        if not self.cases:
            why = f": {self.refused[0]}" if self.refused else f" ({self.note or 'it holds none'})"
            raise UsageError(f"--from {self.path}: no problem of this {self.kind} can be used{why}")
        return self.cases

    @property
    def summary(self) -> str:
        """One line: ``imported 57 of 60 from FILE (benchdnn batch file), 40 different; 3 not: …``.

        The reasons are those of the first three; the list has all.
        """
        total = self.entries + len(self.refused)
        text = f"imported {self.entries} of {total} from {self.path.name} ({self.kind})"
        text += f", {len(self.cases)} different" if len(self.cases) != self.entries else ""
        if self.refused:
            first = ", ".join(r.where for r in self.refused[:3])
            more = ", …" if len(self.refused) > 3 else ""
            text += f"; {len(self.refused)} not: {first}{more}"
        return f"{text}; {self.note}" if self.note else text


def load(path: Path, *, in_shape: str | None = None, dtype: str | None = None) -> Imported:
    """The problems of a file.

    Args:
        in_shape: the shape of an ONNX model's first input, where the model leaves it open.
        dtype: of the problems whose line names none (the texts); None means float32.

    Raises:
        UsageError: the file cannot be read, is none of these, or is damaged.
        UnavailableError: it is an ONNX model, and the library onnx is not here.
    """
    path = Path(path)
    data = _bytes(path)
    if not data.strip():
        raise UsageError(f"--from {path}: the file is empty; give {KINDS}")
    if data.lstrip()[:1] in (b"{", b"["):
        from . import profiler

        return _collect(path, "torch profiler trace", *profiler.entries(path, _json(path, data)))
    text = _text(data)
    if text is None:
        from . import onnx_model

        return _collect(path, "ONNX model", *onnx_model.entries(path, data, in_shape))
    kind, read = _notation(path, text)
    return _collect(path, kind, read(path, text, dtype or "float32"), "")


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"--from {path}: cannot be read: {reason}") from None


def _text(data: bytes) -> str | None:
    """The bytes as text, or None where they are none."""
    try:
        return None if b"\0" in data else data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _json(path: Path, data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--from {path}: begins like JSON, but is damaged: {error}") from None


def _notation(path: Path, text: str) -> tuple[str, Callable[[Path, str, str], Iterable[Entry]]]:
    """The kind of a text, and what reads it."""
    from . import benchdnn, miopen

    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if any(notation_miopen.looks_like(line) for line in lines):
        return "MIOpenDriver commands", miopen.entries
    if any(line.startswith("--") or notation_benchdnn.looks_like(line) for line in lines):
        return "benchdnn batch file", benchdnn.entries
    shown = f"; its first line is {lines[0][:60]!r}" if lines else "; it holds only remarks"
    raise UsageError(
        f"--from {path}: is none of {KINDS}{shown} (a set of cases is given without --from)"
    )


def _collect(path: Path, kind: str, entries: Iterable[Entry], note: str) -> Imported:
    """Each problem as one case."""
    refused: list[Refused] = []
    found: dict[Problem, list[Entry]] = {}
    total = 0
    for entry in entries:
        if isinstance(entry.problem, str):
            refused.append(Refused(entry.where, entry.text, entry.problem))
        else:
            total += 1
            found.setdefault(entry.problem, []).append(entry)
    cases: list[Case] = []
    for problem, same in found.items():
        cases.append(_case(path, problem, same, {case.name for case in cases}))
    return Imported(path, kind, cases, total, refused, note)


def _case(path: Path, problem: Problem, same: list[Entry], taken: set[str]) -> Case:
    """The case of entries with the same problem, under the first of their names that is free."""
    written = label.format(problem)
    name = next((e.name for e in same if e.name and e.name not in taken), written)
    words = [path.name, same[0].where]
    words += [f"and {len(same) - 1} more"] if len(same) > 1 else []
    count, backward = sum(e.count for e in same), sum(e.backward for e in same)
    words += [f"{count} times"] if count > 1 and not backward else []
    words += [f"{count} forward and {backward} backward"] if backward else []
    time = sum(entry.time for entry in same)
    words += [f"{time / 1000:,.3f} ms"] if time else []
    return Case(name, problem, ", ".join(words), written)
