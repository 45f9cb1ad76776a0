"""The report as SARIF 2.1.0, which code hosts show beside the code: a result a failure, at the line
of its record.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from .findings import Failure, Report

#: Status → what it says; a rule of the tool.
RULES = {
    "wrong": "A result that no legal arithmetic gives",
    "suspect": "An error inside the proof, but beyond the usual rounding",
    "error": "A call that raised",
    "doubt": "The two references disagree",
    "nothing ran": "Not one call went through",
    "crashed": "The process ended",
    "hung": "A call that did not come back",
    "given up": "Tried several times, never done",
}
WARNINGS = ("suspect", "doubt")
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(report: Report) -> str:
    """The document."""
    from ... import __version__

    rules = list(RULES)
    results = [_result(failure, rules) for failure in report.failures]
    notes = [{"level": "warning", "message": {"text": line}} for line in report.notes]
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "refconv",
                "version": __version__,
                "rules": [
                    {"id": _id(name), "shortDescription": {"text": text}}
                    for name, text in RULES.items()
                ],
            }
        },
        "results": results,
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": notes}],
    }
    document = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _id(status: str) -> str:
    """``given up`` → ``refconv/given-up``."""
    return f"refconv/{status.replace(' ', '-')}"


def _result(f: Failure, rules: list[str]) -> dict[str, Any]:
    text = f"{f.title}: {f.status}: {f.reason}"
    text += f"\n\n{f.diagnosis}" if f.diagnosis else ""
    text += f"\n\nAgain:\n{f.repro}" if f.repro else ""
    place = {"artifactLocation": {"uri": _uri(f.path)}, "region": {"startLine": max(f.line, 1)}}
    key = sha256(f"{f.title} {f.status}".encode()).hexdigest()[:32]
    found: dict[str, Any] = {
        "ruleId": _id(f.status),
        "level": "warning" if f.status in WARNINGS else "error",
        "message": {"text": text},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"refconv/v1": key},
    }
    if f.status in rules:
        found["ruleIndex"] = rules.index(f.status)
    return found


def _uri(path: Path) -> str:
    """Relative where it is below the current folder, as code hosts want it."""
    from urllib.parse import quote

    full = path.resolve()
    if full.is_relative_to(Path.cwd()):
        return quote(full.relative_to(Path.cwd()).as_posix())
    return full.as_uri()
