"""The report as JUnit XML, which every CI shows: a suite a run, a test a row.

No standard defines it; the document is valid by the schemas of Ant and of Jenkins' xUnit plugin.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from .findings import Failure, Report, machine
from .rows import Row

#: What XML 1.0 cannot say.
FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: Statuses that are no verdict on a result, but the want of one.
BROKEN = ("error", "crashed", "hung", "given up")


def junit(report: Report) -> str:
    """The document."""
    root = ET.Element("testsuites")
    for part in report.parts:
        run = part.run
        suite = _suite(root, part.path, part.kind, run.started if run else "")
        about = machine(run) if run else [(n, str(v)) for n, v in part.about.items()]
        for name, value in about:
            ET.SubElement(suite[0], "property", name=_legal(name), value=_legal(value))
        for row in part.shown:
            _case(suite, row)
        told = len(suite) - 1
        text = f"{told} of {part.total} rows: an even draw, and what fails"
        _close(suite, text if told < part.total else "")
    faults = {f.title: f for f in report.failures if f.script}
    for path, c in report.summary.checks:
        suite = _suite(root, path, "check", "")
        name = f"{c.name} as {c.op} on {c.device}"
        case = ET.SubElement(suite, "testcase", classname="refconv.check", name=_legal(name),
                             time=f"{c.seconds:.3f}")  # fmt: skip
        if found := faults.get(name):
            _fail(case, found)
        _close(suite)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False).join(
        ('<?xml version="1.0" encoding="UTF-8"?>\n', "\n")
    )


def _suite(root: ET.Element, path: Path, kind: str, started: str) -> ET.Element:
    """An empty one; without a record of when it started, that of when its file was written."""
    if not started:
        when = path.stat().st_mtime if path.exists() else 0.0
        started = datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds")
    number, package = str(len(root)), f"refconv.{kind.partition(' ')[0]}"
    suite = ET.SubElement(root, "testsuite", name=_legal(f"{path.name} {kind}"), id=number,
                          package=package, hostname="localhost",
                          timestamp=started.partition("+")[0].partition(".")[0])  # fmt: skip
    ET.SubElement(suite, "properties")
    return suite


def _close(suite: ET.Element, said: str = "") -> None:
    """Count what a suite holds, and end it."""
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(sum(case.find(tag) is not None for case in cases)))
    suite.set("time", f"{sum(float(case.get('time', '0')) for case in cases):.3f}")
    ET.SubElement(suite, "system-out").text = said
    ET.SubElement(suite, "system-err")


def _case(suite: ET.Element, row: Row) -> None:
    name = f"{row.name} [{row.who}, {row.dtype}, {row.device}]"
    case = ET.SubElement(suite, "testcase", classname=f"refconv.{row.kind}.{row.op}",
                         name=_legal(name), time=f"{(row.ns or 0.0) / 1e9:.9f}")  # fmt: skip
    if row.status == "skipped":
        ET.SubElement(case, "skipped", message=_legal(row.reason))
    elif row.failed:
        tag = "error" if row.status in BROKEN else "failure"
        found = ET.SubElement(case, tag, type=row.status, message=_legal(row.reason))
        found.text = _legal(f"{row.label}\n{row.repro}")


def _fail(case: ET.Element, failure: Failure) -> None:
    found = ET.SubElement(case, "failure", type=failure.status, message=_legal(failure.reason))
    found.text = _legal(f"{failure.diagnosis}\n\n{failure.repro}")


def _legal(text: str) -> str:
    return FORBIDDEN.sub("�", text)
