"""Files of records, read line by line: whatever is damaged, foreign or too new is left out and said
in one line, and everything else is still there.

Taken are the records of compare and bench, what their ``--json`` and that of check wrote, check's
outcomes, and the journal of gpu.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from .. import records
from ..records import Ceilings, Environment

#: Schema → the newest version that is read. A line that names none is of version 1.
VERSIONS = {"refconv.compare": 1, "refconv.bench": 1, "refconv.check": 1, "refconv.gpu": 1}
#: What is counted of every line; of the few that are kept, the whole line is decoded again.
COUNTED = {"label", "way", "backend", "status", "reason", "checks", "timing", "schema"}
#: A single JSON document of more bytes is not looked at.
LARGEST = 2**28


def only(cls: Any, names: set[str], **types: Any) -> Any:
    """The struct with some of its fields, so that the others are skipped where they stand.

    Args:
        types: of fields that have another type now.
    """
    fields: list[Any] = []
    for f in msgspec.structs.fields(cls):
        if f.name in names:
            kind = types.get(f.name, f.type)
            fields.append((f.name, kind) if f.required else (f.name, kind, f.default))
    tag = cls.__struct_config__
    tagged = {"tag": tag.tag, "tag_field": tag.tag_field} if tag.tag else {}
    made: Any = msgspec.defstruct(
        cls.__name__, fields, frozen=True, kw_only=True, gc=False, **tagged
    )
    return made


CHECK = only(records.Check, {"ratio", "noise"})
TIMING = only(records.Timing, {"vs_torch", "busy"})
PARTS = {"checks": tuple[CHECK, ...], "timing": TIMING | None}  # type: ignore[valid-type]
#: Results and benchmarks as they are counted.
Result = only(records.Result, COUNTED, **PARTS)
Bench = only(records.Bench, COUNTED, **PARTS)
_short = msgspec.json.Decoder(Result | Bench | Environment | Ceilings)
_whole = msgspec.json.Decoder(records.Record)


class Files:
    """Reads files, and keeps one line for each kind of trouble in each.

    Args:
        whole: whether rows come with all they have, samples too; else with what is counted.
    """

    def __init__(self, whole: bool = False) -> None:
        self._decode, self._line = (_whole if whole else _short).decode, b""
        self._troubles: dict[tuple[Path, str], list[int]] = {}

    def whole(self, path: Path, number: int) -> Any:
        """All of the record that came last, a result or a benchmark; None, and a line of trouble,
        if what is damaged in it is nothing that is counted.
        """
        try:
            return _whole.decode(self._line)
        except msgspec.DecodeError as error:
            self._trouble(path, number, f"a damaged record ({error}): counted, but not shown")
            return None

    @property
    def troubles(self) -> list[str]:
        """``file:line: what is wrong: what was done``, one a kind and file."""
        lines = []
        for (path, text), numbers in self._troubles.items():
            first, count = numbers
            more = f" ({count - 1:,} more such line{'s' * (count > 2)})" if count > 1 else ""
            lines.append(f"{path}{f':{first}' if first else ''}: {text}{more}")
        return lines

    def _trouble(self, path: Path, number: int, text: str) -> None:
        self._troubles.setdefault((path, text), [number, 0])[1] += 1

    def read(self, path: Path) -> Iterator[tuple[int, Any]]:
        """Each record with the number of its line: structs of ``records``, ``Report``, ``Started``
        and ``Outcome`` of the check, and a gpu record as a ``dict``.
        """
        try:
            with path.open("rb") as file:
                head = file.read(4096)
                file.seek(0)
                if not head.strip():
                    self._trouble(path, 0, "empty: nothing to show of it")
                elif b"\0" in head:
                    self._trouble(path, 0, "no text: the file is left out")
                elif (document := _document(file, head)) is not None:
                    yield from self._of_document(path, document)
                else:
                    file.seek(0)
                    yield from self._lines(path, file)
        except OSError as error:
            self._trouble(path, 0, f"cannot be read: {error.strerror}: left out")

    def _lines(self, path: Path, file: Any) -> Iterator[tuple[int, Any]]:
        decode, skipping = self._decode, ""
        for number, line in enumerate(file, 1):
            try:
                record = decode(line)
            except msgspec.ValidationError as error:
                if found := self._other(path, number, line, str(error)):
                    yield number, found
                continue
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                if line.strip():
                    cut = line.lstrip().startswith(b"{") and not line.endswith(b"\n")
                    what = "cut off, as a killed run leaves it" if cut else f"damaged ({error})"
                    what = re.sub(r" \(byte \d+\)", "", what)
                    self._trouble(path, number, f"{what}: the line is left out")
                continue
            if type(record) is Environment:
                skipping = newer(record.schema)
            self._line = line
            if skipping:  # a run of a version that this one does not know, to its end
                self._trouble(path, number, skipping)
            else:
                yield number, record

    def _other(self, path: Path, number: int, line: bytes, why: str) -> Any:
        """A line that is JSON but neither a result nor a benchmark."""
        found, text = _sorted(msgspec.json.decode(line), why)
        if text:
            self._trouble(path, number, f"{text}: the line is left out")
        return found

    def _of_document(self, path: Path, document: Any) -> Iterator[tuple[int, Any]]:
        """A whole file that is one JSON value: reports of check, or what ``--json`` wrote."""
        for part in document if isinstance(document, list) else [document]:
            known = isinstance(part, dict)
            if known and {"run", "results"} <= part.keys() and not newer(part.get("schema", "")):
                yield 1, self._decode(msgspec.json.encode(part["run"]))
                for row in part["results"]:
                    self._line = msgspec.json.encode(row)
                    yield 1, self._decode(self._line)
                continue
            found, text = _sorted(part, "no record")
            if text:
                self._trouble(path, 1, f"{text}: the file is left out")
            elif found is not None:
                yield 1, found


def _document(file: Any, head: bytes) -> Any:
    """The file's one JSON value where it is written over several lines, or is an array; None where
    it is lines of JSON.
    """
    start = head.lstrip()[:1]
    first = file.readline()
    if start not in b"{[" or (start == b"{" and first.strip() != b"{"):
        return None
    text = first + file.read(LARGEST)
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def newer(schema: str) -> str:
    """What to say of a schema that this version does not read; empty where it does."""
    name, _, version = schema.partition("/")
    if not schema or (name in VERSIONS and version.isdigit() and int(version) <= VERSIONS[name]):
        return ""
    if name in VERSIONS:
        return f"{schema} is newer than {name}/{VERSIONS[name]}, which this refconv reads: left out"
    return f"schema {schema} is not one of refconv's: left out"


def _sorted(value: Any, why: str) -> tuple[Any, str]:
    """A JSON value as a record of check or gpu; or what is wrong with it."""
    if not isinstance(value, dict):
        return None, "JSON, but no record"
    schema = str(value.get("schema", ""))
    kind = value.get("record") or value.get("type")
    if text := newer(schema):
        return None, text.removesuffix(": left out")
    if schema.startswith("refconv.gpu/") and "key" in value:
        return value, ""
    if kind in ("check", "outcome") or schema.startswith("refconv.check/"):
        return _checks(value)
    if kind in ("result", "bench", "run", "ceilings"):
        return None, f"a damaged {kind} record ({why})"
    names = ", ".join(list(value)[:4]) or "nothing"
    return None, f"JSON, but no record of refconv's (it has {names})"


def _checks(value: dict[str, Any]) -> tuple[Any, str]:
    """A report, the start or an outcome of a check; its types come with torch, so only now."""
    from ...oracle.check.journal import Started
    from ...oracle.check.report import Report
    from ...oracle.check.trial import Outcome

    types: Any = Started | Outcome if "type" in value else Report
    try:
        return msgspec.convert(value, types), ""
    except msgspec.ValidationError as error:
        return None, f"a damaged check record ({error})"
