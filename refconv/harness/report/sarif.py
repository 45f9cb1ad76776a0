"""The report as SARIF 2.1.0, which code hosts show beside the code: a result a failure, at the line
of the checked function where its file is here, else at the line of its record.
"""

from __future__ import annotations

import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

from .findings import Failure, Report

#: Status → its rule's name, what it says, and what to do.
RULES = {
    "wrong": ("Wrong", "A result that no legal arithmetic gives.",
              "Run the repro in the message: it names the element, what it is and must be."),
    "suspect": ("Suspect", "An error inside the proof, but beyond the usual rounding.",
                "Look for a narrower dtype or a lossy algorithm on the way; or declare it."),
    "error": ("Error", "A call that raised.",
              "Run the repro in the message: torch takes the same arguments."),
    "doubt": ("Doubt", "The two references disagree.",
              "This is a fault of refconv's or torch's, not of the function: please report it."),
    "nothing ran": ("NothingRan", "Not one call went through.",
                    "The reasons are in the message: usually arguments that are not taken."),
    "crashed": ("Crashed", "The process ended.",
                "Run the repro in the message under a debugger: memory was probably overrun."),
    "hung": ("Hung", "A call that did not come back.",
             "Run the repro in the message, and look where it waits."),
    "given up": ("GivenUp", "Tried several times, never done.",
                 "Run the case of the message alone."),
}  # fmt: skip
WARNINGS = ("suspect", "doubt")
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(report: Report) -> str:
    """The document."""
    from ... import __version__

    results = [_result(failure) for failure in report.failures]
    notes = [{"level": "warning", "message": {"text": line}} for line in report.notes]
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "refconv",
                "version": __version__,
                "rules": [_rule(status) for status in RULES],
            }
        },
        "results": results,
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": notes}],
    }
    document = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _id(status: str) -> str:
    """``given up`` → ``refconv-given-up``."""
    return f"refconv-{status.replace(' ', '-')}"


def _rule(status: str) -> dict[str, Any]:
    name, says, advice = RULES[status]
    text = {"text": says}
    return {"id": _id(status), "name": name, "shortDescription": text, "fullDescription": text,
            "help": {"text": advice}}  # fmt: skip


def _result(f: Failure) -> dict[str, Any]:
    text = f"{f.title}: {f.status}: {f.reason}"
    text += f"\n\n{f.diagnosis}" if f.diagnosis else ""
    text += f"\n\nAgain:\n{f.repro}" if f.repro else ""
    path, line = _function(f.target) or (f.path, max(f.line, 1))
    place = {"artifactLocation": {"uri": _uri(path)}, "region": {"startLine": line}}
    key = sha256(f"{f.title} {f.status}".encode()).hexdigest()[:32]
    found: dict[str, Any] = {
        "ruleId": _id(f.status),
        "level": "warning" if f.status in WARNINGS else "error",
        "message": {"text": text},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"refconv/v1": key},
    }
    if f.status in RULES:
        found["ruleIndex"] = list(RULES).index(f.status)
    return found


def _function(target: str) -> tuple[Path, int] | None:
    """File and line of ``file.py:function``; None where that file is not here."""
    name, _, function = target.rpartition(":")
    path = Path(name)
    if path.suffix != ".py" or not path.is_file():
        return None
    pattern = re.compile(rf"\s*(def|class)\s+{re.escape(function)}\b|{re.escape(function)}\s*=")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return path, next((n for n, line in enumerate(lines, 1) if pattern.match(line)), 1)


def _uri(path: Path) -> str:
    """Relative where it is below the current folder, as code hosts want it."""
    from urllib.parse import quote

    full = path.resolve()
    if full.is_relative_to(Path.cwd()):
        return quote(full.relative_to(Path.cwd()).as_posix())
    return full.as_uri()
