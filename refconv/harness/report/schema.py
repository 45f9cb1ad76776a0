"""The JSON Schema of the records: of every kind, from the very structs that write and read them."""

from __future__ import annotations

from typing import Any

import msgspec

from .. import records
from .reading import VERSIONS


def document() -> dict[str, Any]:
    """The schema of one line (compare, bench, outcomes of check) or document (a check's report).

    The journal of ``refconv gpu`` is open: of it only what every record has is said.
    """
    from ...oracle.check.journal import Started
    from ...oracle.check.report import Report
    from ...oracle.check.trial import Outcome

    structs = (records.Environment, records.Ceilings, records.Result, records.Bench)
    kinds = (*structs, Started, Outcome, Report)
    every, parts = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    parts["Gpu"] = {
        "title": "Gpu",
        "description": "One item of refconv gpu: which, of which GPU and tree, and what came of it",
        "type": "object",
        "required": ["key", "schema"],
        "properties": {"key": {"type": "string"}, "schema": {"const": "refconv.gpu/1"}},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "refconv records",
        "description": "Versions: " + ", ".join(f"{n}/{v}" for n, v in VERSIONS.items()),
        "anyOf": [*every, {"$ref": "#/$defs/Gpu"}],
        "$defs": {name: _plain(part) for name, part in sorted(parts.items())},
    }


def _plain(part: dict[str, Any]) -> dict[str, Any]:
    """Descriptions in one line each."""
    if "description" in part:
        part["description"] = " ".join(part["description"].split())
    return part


def text() -> str:
    """The schema as it is printed and kept in the docs."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=1).decode() + "\n"
