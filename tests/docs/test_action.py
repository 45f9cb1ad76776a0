"""The action and the workflow that docs/howto/ci.md shows: their form, and every step run."""

import re
import sys
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace

import msgspec
import pytest

from refconv.harness.records import encode
from tests.docs.pages import DOCS, ROOT, blocks
from tests.docs.runner import EXPRESSION, NAME, Runner, load
from tests.unit.test_report import CEILINGS, LAYERS, RUN, TORCH, timing

FILE = ROOT / "action.yml"
ACTION = load(FILE.read_text())
STEPS = ACTION["runs"]["steps"]
PAGE = (DOCS / "howto" / "ci.md").read_text()
WORKFLOW, OWN = (load(block) for block in blocks(PAGE, "yaml"))
ALL = [*STEPS, *OWN, *(step for job in WORKFLOW["jobs"].values() for step in job["steps"])]
RIGHT = """import torch.nn.functional as F


def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return F.conv2d(input, weight, bias, stride, padding, dilation, groups)
"""
WRONG = RIGHT.replace("bias, stride, ", "None, stride, ")


def test_the_action_has_the_form_of_a_composite_one():
    assert {*ACTION} == {"name", "description", "inputs", "outputs", "runs"}
    assert ACTION["runs"].keys() == {"using", "steps"}
    assert ACTION["runs"]["using"] == "composite"
    for about in ACTION["inputs"].values():
        assert {*about} == {"description", "default"}
        assert isinstance(about["default"], str), "an input is text"
    for step in STEPS:
        assert step["shell"] == "bash", step["name"]
        assert {*step} <= {"name", "id", "if", "shell", "env", "run"}


def test_names_are_declared_and_used():
    """Inputs, and the steps that come before; values reach bash as variables, never as code."""
    used, before = set(), set()
    for step in STEPS:
        assert not EXPRESSION.search(step["run"]), step["name"]
        texts = [step.get("if", ""), *map(str, step.get("env", {}).values())]
        for kind, path in (found for text in texts for found in NAME.findall(text)):
            if kind == "inputs":
                used.add(path[1:])
            else:
                assert kind == "steps"
                assert path.split(".")[1] in before, path
        variables = set(re.findall(r"\$\{?#?([A-Z][A-Z_]+)", step["run"]))
        given = {v for v in variables if not v.startswith("GITHUB_")}
        assert given == {*step.get("env", {})}, step["name"]
        before.add(step.get("id"))
    assert used == {*ACTION["inputs"]}
    for about in ACTION["outputs"].values():
        ((_, path),) = NAME.findall(about["value"])
        assert path.split(".")[1] in before


def test_the_workflow_has_the_form_of_one():
    assert {*WORKFLOW} == {"name", "on", "permissions", "jobs"}
    for job in WORKFLOW["jobs"].values():
        assert {*job} == {"runs-on", "steps"}
    for step in ALL:
        assert ("run" in step) != ("uses" in step)
        if "uses" in step:
            assert re.fullmatch(r"(actions|github)/[\w/-]+@v\d+|OWNER/refconv@main", step["uses"])
        if step.get("uses", "").startswith("OWNER"):
            assert step["with"].keys() <= ACTION["inputs"].keys()
            assert all(isinstance(given, str) for given in step["with"].values())


@pytest.fixture
def runner(tmp_path):
    """A checkout; pip and gh write down what they were called with, and refconv is this one."""
    bin = tmp_path / "bin"
    bin.mkdir()
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    scripts = {
        "pip": f'echo "pip $*" >> {bin}/calls',
        "gh": f'echo "gh $* as $GH_TOKEN: $(head -1 refconv-report/comment.md)" >> {bin}/calls',
        "refconv": f'exec {sys.executable} -m refconv "$@"',
        "pytest": f'echo "pytest $*" >> {bin}/calls',
    }
    for name, script in scripts.items():
        (bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (bin / name).chmod(0o755)
    return Runner(checkout, {"OWNER/refconv@main": FILE}, (bin,))


def calls(runner):
    """What pip, gh and pytest were called with."""
    return (runner.path[0] / "calls").read_text()


@pytest.mark.parametrize(("source", "good"), [(RIGHT, True), (WRONG, False)],
                         ids=["right", "wrong"])  # fmt: skip
def test_the_workflow_tells_right_from_wrong(runner, source, good):
    """The job fails where the function is wrong, and then, too, comments and has its files."""
    (runner.folder / "mykernels.py").write_text(source)
    steps = load(blocks(PAGE, "yaml")[0])["jobs"]["numerics"]["steps"]
    ours = next(step for step in steps if step.get("uses", "").startswith("OWNER"))
    ours["with"]["budget"] = "1s"
    done, _ = runner.job(steps)
    assert done is good, runner.log
    assert ("::error::refconv check: exit code 1" in runner.log) is not good
    mark = "✔ all" if good else "✘"
    assert f"pip install {ROOT}[report]" in calls(runner)
    assert f"gh pr comment 7 --body-file refconv-report/comment.md as t0: ### {mark}" in calls(
        runner
    )
    assert runner.summary.startswith(f"### {mark}")
    folder = runner.folder / "refconv-report"
    assert {p.name for p in folder.iterdir()} == {
        "check.json", "comment.md", "report.html", "report.sarif", "report.xml"
    }  # fmt: skip
    for step in steps:
        for name in ("path", "sarif_file"):
            assert (runner.folder / step.get("with", {}).get(name, ".")).exists()
    found = (folder / "report.sarif").read_text()
    assert ('"uri": "mykernels.py"' in found) is not good
    assert ('"startLine": 4' in found) is not good


def records(path, by=1.0, rounds=8, spread=0.0, **environment):
    """A run in which ours takes ``by`` times as long; ``spread`` of its rounds from each other."""
    rows = []
    for row in LAYERS:
        made = timing(row.timing.vs_torch * by, rounds=rounds)
        samples = tuple(ns * (1 + spread * (i % 2)) for i, ns in enumerate(made.samples_ns))
        rows.append(msgspec.structs.replace(
            row, timing=msgspec.structs.replace(made, samples_ns=samples)
        ))  # fmt: skip
    run = msgspec.structs.replace(RUN, **environment)
    path.write_bytes(b"\n".join(map(encode, [run, CEILINGS, *rows, *TORCH])) + b"\n")


#: What is new → whether the job passes, the code of bench diff, what the log says.
GATES = {
    "slower": ({"by": 1.5}, False, "1", "3 slower, 0 faster, 0 ~, 0 noise; 3 beyond 10 %"),
    "within the limit": ({"by": 1.05}, True, "0", "3 slower, 0 faster, 0 ~, 0 noise; 0 beyond"),
    "the same": ({}, True, "0", "0 slower, 0 faster, 3 ~"),
    "noise": ({"spread": 0.6}, True, "4", "noise hides the answer"),
    "another machine": ({"cpu": "another"}, False, "2", "the environments differ"),
}


@pytest.mark.parametrize("name", GATES)
def test_the_gate_of_speed(runner, name):
    """Its steps of refconv's own kernels, without the benchmark and the report."""
    given, good, code, said = GATES[name]
    records(runner.folder / "baseline.jsonl")
    records(runner.folder / "new.jsonl", **given)
    bench, gate = OWN
    assert bench["run"] == "refconv bench cpu --records new.jsonl"
    program = runner.path[0] / "refconv"
    program.write_text(program.read_text().replace("exec", '[ "$1" = report ] || exec'))
    done, steps = runner.job([gate | {"id": "gate"}])
    assert done is good, runner.log
    assert steps["gate"]["outputs"] == {"check": "", "speed": code}
    assert said in runner.log
    assert ("::error::refconv bench diff" in runner.log) is not good
    if name == "noise":
        strict = gate["with"] | {"on-noise": "fail"}
        assert not runner.job([gate | {"with": strict}])[0]
    else:
        assert said in runner.summary


#: Times over torch's, and whether they are of quiet rounds → what the recipe's test does.
RECIPE = {
    "faster": ([0.5] * 8, False, None),
    "at the limit": ([2.4, 2.6] * 4, False, None),
    "slower": ([2.6, 2.7] * 8, False, AssertionError),
    "a busy machine": ([2.6, 2.7] * 8, True, pytest.skip.Exception),
}


@pytest.mark.parametrize("name", RECIPE)
def test_the_gate_of_speed_in_the_recipe(monkeypatch, name):
    """The page's test_speed on times that are given: it fails where ours is surely too slow."""
    from refconv.harness import timing

    ratios, busy, outcome = RECIPE[name]
    monkeypatch.setitem(sys.modules, "mykernels", ModuleType("mykernels"))
    recipe = {}
    exec(blocks(PAGE, "python")[0], recipe)
    found = {
        who: SimpleNamespace(ns=ns, clean=[True] * len(ns), busy=busy)
        for who, ns in (("torch", [1e6] * len(ratios)), ("mine", [1e6 * r for r in ratios]))
    }
    monkeypatch.setattr(timing, "interleave", lambda *_, **__: found)
    layer = next(iter(recipe["LIMITS"]))
    with pytest.raises(outcome) if outcome else nullcontext():
        recipe["test_speed"](layer)


def test_nothing_to_do_is_an_error(runner):
    done, _ = runner.job([{"uses": "OWNER/refconv@main", "with": {"install": "false"}}])
    assert not done
    assert "nothing to do" in runner.log
