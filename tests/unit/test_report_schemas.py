"""JUnit and SARIF held against the schemas of those who read them."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import msgspec
import pytest
import xmlschema

from refconv.harness import records as kept
from refconv.harness.records import encode
from refconv.harness.report import findings, summary
from refconv.harness.report.junit import junit
from refconv.harness.report.sarif import RULES, sarif
from tests.unit.test_report import CEILINGS, LAYERS, RUN, SKIPPED, TORCH, WRONG

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = Path(__file__).with_name("schemas")
STATUSES = ("error", "suspect", "doubt", "crashed", "hung", "given up")
ODD = "a tab\t, a bell\7, <tags> & \"quotes\" — 'and' 卷积"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Every status, a benchmark, a report of a check, troubles, and characters that XML forbids."""
    folder = tmp_path_factory.mktemp("records")
    failing = [msgspec.structs.replace(WRONG, status=s, reason=ODD, case=f"{s} {ODD}")
               for s in STATUSES]  # fmt: skip
    compare = msgspec.structs.replace(RUN, schema=kept.SCHEMA)
    (folder / "bench.jsonl").write_bytes(
        b"\n".join(map(encode, [RUN, CEILINGS, *LAYERS, *TORCH])) + b"\n{"
    )
    (folder / "mixed file.jsonl").write_bytes(
        b"\n".join(map(encode, [compare, WRONG, SKIPPED, *failing])) + b"\n"
    )
    check = ROOT / "bench" / "history" / "cpu-epyc-2core" / "check-sample.json"
    made = findings.Report(summary.read([*sorted(folder.iterdir()), check, folder / "none"]))
    assert {f.status for f in made.failures} == {"wrong", *STATUSES}
    assert len(made.notes) == 2
    return made


def complaints_of_sarif(text):
    """What the schema of SARIF 2.1.0 does not allow."""
    schema = json.loads((SCHEMAS / "sarif-2.1.0-rtm.5.json").read_text())
    judge = jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker())
    return [e.message for e in judge.iter_errors(json.loads(text))]


def test_sarif_is_valid(report):
    text = sarif(report)
    assert complaints_of_sarif(text) == []
    assert complaints_of_sarif(text.replace('"text"', '"texts"', 1))
    assert complaints_of_sarif(text.replace('"startLine": 2', '"startLine": 0'))
    assert complaints_of_sarif(text.replace('"level": "error"', '"level": "bad"'))


def test_sarif_has_what_code_scanning_wants(report):
    """As Microsoft's multitool asks by its rules for GitHub: every rule is described and helps."""
    (run,) = json.loads(sarif(report))["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert len(rules) == len(RULES)
    for rule in rules:
        assert rule["fullDescription"]["text"]
        assert rule["help"]["text"]
        assert rule["name"].isalpha()
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]


def test_a_fault_of_a_checked_function_stands_at_its_line(report, monkeypatch):
    """Where its file is in the checkout; else at its record."""
    monkeypatch.chdir(ROOT)
    (run,) = json.loads(sarif(report))["runs"]
    places = [r["locations"][0]["physicalLocation"] for r in run["results"]]
    source = ROOT / "docs" / "examples" / "mykernels.py"
    line = 1 + source.read_text().splitlines().index(
        "def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):"
    )
    at = {"artifactLocation": {"uri": "docs/examples/mykernels.py"}, "region": {"startLine": line}}
    assert places[0] == at
    assert all(p["artifactLocation"]["uri"].endswith("/mixed%20file.jsonl") for p in places[1:])


def test_junit_is_valid_for_jenkins(report):
    judge = xmlschema.XMLSchema(SCHEMAS / "junit-10.xsd")
    text = junit(report)
    assert [e.reason for e in judge.iter_errors(text)] == []
    assert not judge.is_valid(text.replace("<testsuites>", '<testsuites skipped="1">'))
    assert not judge.is_valid(text.replace("<failure", "<fault").replace("</failure", "</fault"))


def test_junit_is_valid_for_ant(report):
    """As Ant's schema (Windy Road's JUnit.xsd) has it: which attributes, and in which order."""
    root = ET.fromstring(junit(report))
    assert root.attrib == {}
    for number, suite in enumerate(root):
        assert {*suite.attrib} == {"name", "id", "package", "hostname", "timestamp", "tests",
                                   "failures", "errors", "skipped", "time"}  # fmt: skip
        assert suite.get("id") == str(number)
        assert len(suite.get("timestamp")) == len("2026-01-01T10:00:00")
        tags = [child.tag for child in suite]
        cases = ["testcase"] * (len(tags) - 3)
        assert tags == ["properties", *cases, "system-out", "system-err"]
        for case in suite.iter("testcase"):
            assert {*case.attrib} == {"name", "classname", "time"}
            assert len(case) <= 1
            assert all(child.get("type") for child in case if child.tag != "skipped")
    assert len(root) == 3
