"""The report as JUnit XML, which every CI shows: a suite a run, a test a row."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from .findings import Failure, Report
from .rows import Row

#: What XML 1.0 cannot say.
FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: Statuses that are no verdict on a result, but the want of one.
BROKEN = ("error", "crashed", "hung", "given up")


def junit(report: Report) -> str:
    """The document."""
    root = ET.Element("testsuites", name="refconv")
    for part in report.parts:
        suite = _suite(f"{part.path.name} {part.kind}", part.run.started if part.run else "")
        for row in part.shown:
            _case(suite, row)
        told = _close(root, suite)
        if told < part.total:
            note = ET.SubElement(suite, "system-out")
            note.text = f"{told} of {part.total} rows: an even draw, and what fails"
    if report.summary.checks:
        failures = {f.title: f for f in report.failures if f.script}
        suite = _suite("refconv check", "")
        for _, c in report.summary.checks:
            name = f"{c.name} as {c.op} on {c.device}"
            case = ET.SubElement(suite, "testcase", classname="check", name=_legal(name),
                                 time=f"{c.seconds:.3f}")  # fmt: skip
            if found := failures.get(name):
                _fail(case, "failure", found)
        _close(root, suite)
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False).join(
        ('<?xml version="1.0" encoding="UTF-8"?>\n', "\n")
    )


def _suite(name: str, started: str) -> ET.Element:
    suite = ET.Element("testsuite", name=_legal(name))
    if started:
        suite.set("timestamp", started.partition("+")[0])
    return suite


def _close(root: ET.Element, suite: ET.Element) -> int:
    """Count what a suite holds; returns its tests."""
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(sum(case.find(tag) is not None for case in cases)))
    suite.set("time", f"{sum(float(case.get('time', '0')) for case in cases):.6f}")
    root.append(suite)
    return len(cases)


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


def _fail(case: ET.Element, tag: str, failure: Failure) -> None:
    found = ET.SubElement(case, tag, type=failure.status, message=_legal(failure.reason))
    found.text = _legal(f"{failure.diagnosis}\n\n{failure.repro}")


def _legal(text: str) -> str:
    return FORBIDDEN.sub("�", text)
