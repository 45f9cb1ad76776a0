"""``refconv doctor``: what it says here, its verdicts, its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from refconv import cli
from refconv.harness import doctor
from refconv.harness.doctor import report, selftest
from refconv.harness.doctor.report import Finding, Outcome, Report
from refconv.kernels.im2col import conv as im2col
from refconv.learn.demo import CS231N

OURS = ("im2col", "naive", "numba")


def call(capfd, *argv):
    code = cli.main(["doctor", *argv])
    return code, *capfd.readouterr()


# What it says here.


def test_json_is_the_whole_report(capfd, monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/people/ada")
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.setenv("CUDA_HOME", "/people/ada/cuda")
    monkeypatch.setenv("REFCONV_TUNE", "/data/ada/tuned.json")
    code, out, _ = call(capfd, "--json")
    told = json.loads(out)
    assert told["schema"] == "refconv.doctor/1"
    assert (code, told["exit_code"]) == (0, 0)
    equal = {t["backend"] for t in told["self_test"] if t["state"] == "equal"}
    assert equal >= {*OURS, "torch"}
    assert all(t["passes"] == ["forward", "backward"] for t in told["self_test"] if not t["text"])
    assert told["facts"]["packages"]["torch"] == torch.__version__
    assert told["facts"]["precision"]["accuracy"] == "strict"
    assert told["facts"]["variables"]["REFCONV_TUNE"] == "/data/<user>/tuned.json"
    assert told["facts"]["variables"]["CUDA_HOME"] == "~/cuda"
    assert "ada" not in out


def test_the_page_says_skipped_apart_from_passed(capfd) -> None:
    code, out, _ = call(capfd)
    first, *rest = out.splitlines()
    assert code == 0
    assert first.startswith("✔ ")
    assert first.endswith("; not run: cuda-on-cpu, cupy, numba-cuda") or torch.cuda.is_available()
    assert any(line.startswith("  ✔ ok      python: refconv ") for line in rest)
    assert any("exact, forward and backward, on im2col, naive, numba, torch" in s for s in rest)
    assert any(line.startswith("  – note    self-test: cuda-on-cpu is not run") for line in rest)
    assert len(first) <= 100
    assert "\x1b" not in out


def test_an_issue_is_markdown(capfd) -> None:
    code, out, _ = call(capfd, "--issue")
    assert code == 0
    assert out.startswith("### What did you run")
    assert "| backend | device | result | |\n|---|---|---|---|\n" in out
    assert "| naive | cpu | equal | – |" in out
    assert "| torch_threads | " in out


def test_what_is_asked_for_must_be_there(capfd) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    code, out, _ = call(capfd, "--backends", "cupy")
    assert code == 3
    assert "  ✘ failed  cupy: this machine has no NVIDIA driver" in out or "installed" in out
    code, _, err = call(capfd, "--backends", "cupi")
    assert (code, err.count("\n")) == (2, 1)
    assert "unknown backend 'cupi'" in err
    assert call(capfd, "--json", "--issue")[0] == 2


def test_a_wrong_result_is_exit_1(capfd, monkeypatch) -> None:
    real = im2col.dgrad

    def wrong(out, *rest):
        real(out, *rest)
        out.flat[7] += 1

    monkeypatch.setattr(im2col, "dgrad", wrong)
    code, out, _ = call(capfd)
    assert code == 1
    assert out.startswith("✘ WRONG: im2col computed the cs231n example wrongly")
    assert "im2col on cpu is WRONG: gradient of input[0,1,2] is -13, not -14 (1 differ)" in out
    assert "on naive, numba, torch\n" in out


def test_a_backend_that_raises_is_exit_3(capfd, monkeypatch) -> None:
    def broken(*_):
        raise ZeroDivisionError("a planted fault")

    monkeypatch.setattr(im2col, "fprop", broken)
    code, out, _ = call(capfd)
    assert code == 3
    assert "im2col on cpu does not run: ZeroDivisionError: a planted fault" in out
    assert "fix: refconv doctor --issue makes a bug report" in out


def test_ascii_has_words_for_signs() -> None:
    """And torch and Numba may be missing: the rest is told all the same."""
    code = (
        "import sys; sys.modules['torch'] = sys.modules['numba'] = None\n"
        "from refconv import cli; sys.exit(cli.main(['doctor']))"
    )
    env = dict(os.environ, PYTHONIOENCODING="ascii")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 3, done.stderr
    first = done.stdout.splitlines()[0]
    assert first.startswith("FAILED: 2 faults")
    assert ": torch, numba; not run: " in first
    assert "\n  failed  torch: cannot be imported: ModuleNotFoundError" in done.stdout
    assert "example is exact, forward, on im2col, naive\n" in done.stdout


def test_without_numpy_it_is_one_line() -> None:
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "from refconv import cli; sys.exit(cli.main(['doctor']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr == "refconv: doctor: import of numpy halted; None in sys.modules (pip " \
        "install numpy)\n"  # fmt: skip


# The self-test's numbers.


def test_the_golden_gradients_are_torchs() -> None:
    """In float64, which they were not computed by here."""
    leaves = [torch.tensor(CS231N[n], dtype=torch.float64).requires_grad_() for n in selftest.NAMES]
    y = torch.nn.functional.conv2d(*leaves, stride=2, padding=1)
    upstream = torch.arange(1.0, 19.0, dtype=torch.float64).view_as(y)
    grads = torch.autograd.grad(y, leaves, upstream)
    for name, grad in zip(selftest.NAMES, grads, strict=True):
        assert grad.tolist() == selftest.GRADIENTS[name]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda y: y, ""),
        (lambda y: y + 1, "output[0,0,0] is 8, not 7 (18 differ)"),
        (lambda y: np.where(y == 10, np.nan, y), "output[0,0,2] is nan, not 10 (2 differ)"),
        (lambda y: y[:1], "output has shape (1, 3, 3), not (2, 3, 3)"),
    ],
)
def test_any_other_number_is_told(change, text) -> None:
    y = np.array(CS231N["output"], np.float32)
    assert selftest.difference({"output": change(y)}) == text


def test_a_backend_named_or_all_runs_the_slow_one(monkeypatch) -> None:
    ran = []
    monkeypatch.setattr(selftest, "_try", lambda name, *_, **__: ran.append(name) or name)
    for options in ({}, {"named": ("cuda-on-cpu",)}, {"everything": True}):
        ran.clear()
        list(selftest.run(torch, **options))
        assert ("cuda-on-cpu" in ran) == bool(options)


def test_what_numba_compiles_is_counted() -> None:
    import numba

    told: list[str] = []
    with selftest.compiling(told.append, True) as taken:
        numba.njit(lambda x: x + 1)(1)
    assert len(taken) == 1
    assert taken[0] > 0
    assert told == ["Numba compiles its kernels, once: some seconds"]


# Verdicts.

OK, WARNING = Finding("ok", "a", "x"), Finding("warning", "b", "x", "y")
FAILED = Finding("failed", "c", "x", "y")
EQUAL, WRONG = Outcome("naive", "cpu", "equal"), Outcome("numba", "cpu", "wrong")
RAISED, SKIPPED = Outcome("torch", "cuda", "failed"), Outcome("cupy", "cuda", "skipped")


@pytest.mark.parametrize(
    ("findings", "tests", "code", "headline"),
    [
        ([OK], [EQUAL], 0, "✔ all right: the cs231n example is exact on 1 of 1"),
        ([OK], [EQUAL, SKIPPED], 0, "✔ all right: the cs231n example is exact on 1 of 1; not run: "
         "cupy"),
        ([WARNING], [EQUAL], 0, "✔ works, 1 warning: the cs231n example is exact on 1 of 1"),
        ([FAILED, WARNING], [EQUAL], 3, "✘ 1 fault, 1 warning: c"),
        ([FAILED, FAILED], [RAISED], 3, "✘ 2 faults: c, torch on cuda"),
        ([FAILED], [WRONG, EQUAL], 1, "✘ WRONG: numba computed the cs231n example wrongly"),
    ],
)  # fmt: skip
def test_verdict_and_exit_code(findings, tests, code, headline) -> None:
    made = Report(findings, tests)
    assert (made.exit_code, made.headline) == (code, headline)


def test_every_warning_has_a_fix() -> None:
    with pytest.raises(AssertionError, match="no fix"):
        Finding("warning", "a", "b")


def test_a_check_that_fails_is_a_finding() -> None:
    def broken():
        yield OK
        raise KeyError("x")

    (found,) = doctor._checked("limits", broken)
    assert (found.state, found.topic) == ("failed", "limits")
    assert found.text == "this check itself failed: KeyError: 'x'"


def test_a_driver_that_cannot_be_asked(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "look", lambda: 1 / 0)
    assert doctor._driver().reason.startswith("the driver cannot be asked: ZeroDivisionError: ")


def test_root_is_no_users_name(monkeypatch) -> None:
    monkeypatch.setenv("LOGNAME", "root")
    assert report.private("/data/root", home="/people/ada") == "/data/root"


# Its help.


def test_help_has_an_example_and_fits(capfd, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = call(capfd, "--help")
    assert code == 0
    assert "Example: refconv doctor" in out
    assert max(map(len, out.splitlines())) <= 80
    assert Path(doctor.__file__).exists()
