"""``refconv doctor``: its checks one by one on machines made up for them, and what it says here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from refconv import cli
from refconv.harness import doctor
from refconv.harness.doctor import (
    checkout,
    conflicts,
    libraries,
    limits,
    precision,
    report,
    selftest,
    variables,
)
from refconv.harness.doctor.report import Finding, Outcome, Report
from refconv.kernels.im2col import conv as im2col
from refconv.learn.demo import CS231N

OURS = ("im2col", "naive", "numba")


def call(capfd, *argv):
    code = cli.main(["doctor", *argv])
    return code, *capfd.readouterr()


def lines(findings):
    """Findings as text; every warning and failure has a fix."""
    found = list(findings)
    assert all(f.fix for f in found if f.state in ("warning", "failed"))
    return [f"{f.state} {f.topic}: {f.text} → {f.fix}" for f in found]


# What it says here.


def test_json_is_the_whole_report(capfd, monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.setenv("CUDA_HOME", "/home/ada/cuda")
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
    assert report.private("/data/root/x", home="/home/ada") == "/data/root/x"


# The checks.


def test_variables() -> None:
    given = {"OMP_NUM_THREADS": "1", "NUMBA_DISABLE_JIT": "1", "NUMBA_DEBUG": "0", "PATH": "/x",
             "NVIDIA_TF32_OVERRIDE": "0", "NUMBA_CACHE_DIR": "/y"}  # fmt: skip
    told = lines(variables.check(given, 8))
    assert [t.split()[2].split("=")[0] for t in told] == [
        "OMP_NUM_THREADS", "NUMBA_DISABLE_JIT", "NVIDIA_TF32_OVERRIDE",
    ]  # fmt: skip
    assert "OMP_NUM_THREADS=1, and there are 8 cores" in told[0]
    assert told[0].endswith("→ unset OMP_NUM_THREADS")
    assert lines(variables.check({"OMP_NUM_THREADS": "8"}, 8)) == []
    assert "PATH" not in variables.facts(given)
    assert variables.facts(given)["NUMBA_CACHE_DIR"] == "/y"


def package(name, version):
    return SimpleNamespace(metadata={"Name": name}, version=version)


CUDA = SimpleNamespace(version=SimpleNamespace(cuda="12.8"))


@pytest.mark.parametrize(
    ("names", "torch_", "text"),
    [
        ({"cupy-cuda13x": "14", "nvidia-cublas-cu12": "12.8", "nvidia-nvvm": "13.0"}, CUDA,
         "two CUDAs in one process: torch for CUDA 12, cupy-cuda13x for CUDA 13 → uninstall what "
         'is for another CUDA; then pip install "refconv[cuda12]"'),
        ({"cupy-cuda12x": "14", "numba-cuda": "0.3", "cuda-bindings": "13.5"}, None,
         "two CUDAs in one process: cupy-cuda12x for CUDA 12, numba-cuda for CUDA 13"),
        ({"nvidia-cublas-cu12": "12.8", "nvidia-nvjitlink": "13.0"}, CUDA,
         "mixed: of 12: nvidia-cublas-cu12; of 13: nvidia-nvjitlink → pip uninstall "
         "nvidia-nvjitlink (nothing"),
        ({"onnxruntime": "1", "onnxruntime-gpu": "1"}, None,
         "onnxruntime and onnxruntime-gpu are installed, and overwrite each other"),
        ({"nvidia-cublas-cu12": "12.8", "nvidia-cufft-cu12": "11", "cupy-cuda12x": "9"}, CUDA, ""),
        ({"nvidia-cublas": "13", "nvidia-cufft": "12.0", "nvidia-nvvm": "13.1"}, None, ""),
    ],
)  # fmt: skip
def test_conflicts(names, torch_, text) -> None:
    there = conflicts.installed(package(*item) for item in names.items())
    told = lines(conflicts.check(there, torch_))
    assert len(told) == bool(text)
    assert text in "".join(told)


def test_two_versions_of_one_package() -> None:
    there = conflicts.installed([package("NumPy", "2.4"), package("numpy", "1.26")])
    (told,) = lines(conflicts.check(there, None))
    assert "warning numpy: 1.26 and 2.4 are both on the path" in told


def test_libraries_that_cannot_be_imported() -> None:
    told = lines(libraries.check({"numpy": np}, {"torch": "OSError: libx.so: cannot open"}))
    assert f"numpy {np.__version__}" in told[0]
    assert told[1] == (
        "failed torch: cannot be imported: OSError: libx.so: cannot open → "
        "pip install --force-reinstall torch"
    )


def test_optional_libraries_say_what_they_give(monkeypatch) -> None:
    monkeypatch.setattr(libraries, "find_spec", lambda name: None if name == "ray" else name)
    *_, told = lines(libraries.check({}, {}))
    assert 'ray is not (pip install "refconv[ray]": check on many machines)' in told


@pytest.mark.parametrize(
    ("files", "path", "want"),
    [
        ({"cpu.max": "150000 100000\n"}, "/", 1.5),
        ({"cpu.max": "max 100000\n"}, "/", None),
        ({"a/cpu.max": "400000 100000", "a/b/cpu.max": "max 100000"}, "/a/b", 4.0),
        ({"a/cpu.max": "200000 100000", "a/b/cpu.max": "300000 100000"}, "/a/b", 2.0),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, "/", 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "/", None),
        ({}, "/", None),
    ],
)
def test_the_control_groups_limit(tmp_path, files, path, want) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert limits.quota(tmp_path, path) == want


def test_limits_are_warnings_with_numbers(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(limits, "quota", lambda: 1.5)
    monkeypatch.setattr(limits, "available", lambda: 100 << 20)
    monkeypatch.setattr(limits.shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 20))
    told = lines(limits.check(16, 8))
    assert "a control group allows 1.5 of 16 processors, and torch has 8 threads" in told[0]
    assert told[0].endswith("→ export OMP_NUM_THREADS=1, or raise the container's limit")
    assert "only 100.0 MiB are free" in told[1]
    assert "only 1.0 MiB are free for" in told[2]
    monkeypatch.setattr(limits, "writable", lambda path: False)
    *_, cache, numba = lines(limits.check(16, 8))
    assert "nothing compiled is kept → set XDG_CACHE_HOME" in cache
    assert numba.startswith("failed Numba's cache: neither ")
    assert "set NUMBA_CACHE_DIR" in numba
    monkeypatch.setattr(limits, "quota", lambda: 16.0)
    assert not any("control group" in line for line in lines(limits.check(16, 8)))


def test_what_can_be_written(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    assert limits.writable(tmp_path / "new" / "folder")
    assert not limits.writable(tmp_path / "file" / "folder")
    if os.getuid():
        tmp_path.chmod(0o500)
        assert not limits.writable(tmp_path / "new")


def test_kernels_of_another_checkout(tmp_path) -> None:
    assert lines(checkout.check()) == []
    told = lines(checkout.check(used=tmp_path / "kernels"))
    assert "those of another checkout" in told[0]
    assert told[0].startswith("failed kernels: ")
    assert "pip install -e" in told[0]
    installed = tmp_path / "site-packages" / "refconv"
    assert lines(checkout.check(installed, installed / "kernels")) == []


def test_another_version_than_pips(monkeypatch) -> None:
    monkeypatch.setattr(checkout.metadata, "version", lambda name: "0.0.1")
    (told,) = lines(checkout.check())
    assert "pip has installed 0.0.1" in told


def backends(conv="none", matmul="none", mkldnn="none"):
    """torch.backends with the settings that are read."""
    new = lambda value: SimpleNamespace(fp32_precision=value)  # noqa: E731
    return SimpleNamespace(
        cudnn=SimpleNamespace(conv=new(conv), benchmark=False),
        cuda=SimpleNamespace(matmul=new(matmul)),
        mkldnn=SimpleNamespace(conv=new(mkldnn)),
    )


@pytest.mark.parametrize(
    ("settings", "has_gpu", "texts"),
    [
        ({"conv": "tf32"}, False, []),
        ({"conv": "tf32"}, True, ["float32 convolutions on a GPU multiply in TF32 (10 bits)"]),
        ({"conv": "ieee", "matmul": "tf32"}, True, ["matrix products on a GPU multiply in TF32"]),
        ({"mkldnn": "bf16"}, False, ["convolutions on the CPU multiply in bf16"]),
        ({"conv": "ieee"}, True, []),
    ],
)
def test_the_precision_in_effect(monkeypatch, settings, has_gpu, texts) -> None:
    monkeypatch.setattr(torch, "backends", backends(**settings))
    first, *told = lines(precision.check(torch, has_gpu))
    assert ("on cuda conv" in first) == has_gpu
    assert len(told) == len(texts)
    assert all(text in line for text, line in zip(texts, told, strict=True))


def test_the_old_way_to_say_tf32(monkeypatch) -> None:
    old = backends()
    old.cuda.matmul, old.cudnn = SimpleNamespace(allow_tf32=True), SimpleNamespace(allow_tf32=True)
    assert precision.matmul(SimpleNamespace(backends=old)) == "tf32"


def test_our_own_accuracy_is_told() -> None:
    import refconv

    with refconv.accuracy("fast"):
        (told,) = lines(precision.check(None, False))
    assert "accuracy fast; Winograd F(4x4) allowed, tuning off" in told


def test_help_has_an_example_and_fits(capfd, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = call(capfd, "--help")
    assert code == 0
    assert "Example: refconv doctor" in out
    assert max(map(len, out.splitlines())) <= 80
    assert Path(doctor.__file__).exists()
