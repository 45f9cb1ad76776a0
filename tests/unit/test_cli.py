"""The command line: exit codes, one-line errors, where output goes. In-process, a few in a real
process.
"""

import functools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from refconv import cli
from refconv.cli import compare

ROOT = Path(__file__).resolve().parents[2]
CASE = "conv2d x[1,2,5,4] w[3,2,3,2] b"
LENET = f"{ROOT}/docs/examples/lenet.py"
QUICK = ["--no-time", "--no-records", "--backends", "naive,im2col,torch"]


def call(capfd, *argv):
    code = cli.main(list(argv))
    out, err = capfd.readouterr()
    return code, out, err


def refconv(*argv, **options):
    env = dict(os.environ, PYTHONPATH=str(ROOT)) | options.pop("env", {})
    return subprocess.run(
        [sys.executable, "-m", "refconv", *argv],
        capture_output=True,
        text=True,
        env=env,
        timeout=120,
        **options,
    )


def test_agreement_is_exit_0_with_the_verdict_first(capfd):
    code, out, err = call(capfd, "compare", CASE, *QUICK)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith("✔ all 3 agree")
    assert "-> y[1,3,3,3]   324 MAC" in lines[1]
    assert f"repro: refconv compare '{CASE}' --seed 0" in lines[-1]
    assert err == ""
    assert "\x1b" not in out


def test_a_difference_is_exit_1(capfd, monkeypatch):
    from refconv.oracle import verdict

    real = verdict.compare
    monkeypatch.setattr(
        verdict,
        "compare",
        lambda got, want, bound, *a: (
            real(got * (1 + 1e-2), want, bound, *a)
            if bound.dtype == "float32"
            else real(got, want, bound, *a)
        ),
    )
    code, out, _ = call(capfd, "compare", CASE, *QUICK)
    assert code == 1
    assert out.startswith("✘ 0 of 3 agree; 3 differ")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["compare", "no_such_set"], "no set of cases 'no_such_set'"),
        (["compare", "conv2d x[1,2"], "conv2d"),
        (["compare", "nn.Conv2d(6,16,5)", "--in", "1x6xseven"], "seven"),
        (["compare", "nn.Conv2d(6,16,5)", "--in", "1x5x14x14"], "5"),
        (["compare", "nn.Conv2d(6,16,5)"], "how large its input is"),
        (["compare", "conv2d x[1,2,3,3] w[2,2,5,5]"], "kernel is larger than the padded input"),
        (["compare", "conv2d x[1,3,5,5] w[2,1,3,3] g2"], "groups must divide"),
        (["compare", CASE, "--backends", "nunba"], "unknown backend 'nunba'"),
        (["compare", CASE, "--backends", "numba:magic"], "no such algorithm"),
        (["compare", CASE, "--device", "tpu"], "cpu, cuda or all"),
        (["compare", CASE, "--allow", "int4"], "only tf32"),
        (["compare", CASE, "--dtype", "float12"], "float12"),
        (["compare", CASE, "--json", "--md"], "cannot both"),
        (["compare", CASE, "--records", "/no/such/folder/r.jsonl"], "cannot be written"),
        (["compare", CASE, "--image", "missing.png"], "no case has a picture"),
        (
            ["compare", "conv2d x[1,3,8,8] w[2,3,3,3]", "--image", "nope.png"],
            "--image: nope.png cannot be read: no such file\n",
        ),
        (["compare", LENET, "--in", "3x32x32", "--image", "nope.png"], "read: no such file\n"),
        (["compare", "nowhere.py:Net", "--in", "3x32x32"], "no file nowhere.py"),
        (["compare", "nowhere.py"], "no file nowhere.py"),
        (["compare", LENET], "how large its input is: add its shape, e.g. --in 3x32x32"),
        (["compare", LENET, "--in", "3x32x32", "--backward"], "--backward"),
        (["compare", LENET, "--in", "3x32x32", "--dtype", "int64"], "a model takes"),
        (["compare", LENET, "--in", "3x9x9"], "torch says"),
        (["compare", "--sed", "0"], "--sed"),
        (["compare", CASE, "--seed", "x"], "--seed"),
        (["no_such_command"], "no_such_command"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_exit_2(capfd, argv, words):
    code, out, err = call(
        capfd, *argv, *([] if "--records" in argv or len(argv) < 2 else ["--no-records"])
    )
    assert (code, out) == (2, "")
    assert err.startswith("refconv: ")
    assert err.count("\n") == 1
    assert words in err


def test_an_image_that_is_no_image_is_one_line(capfd, tmp_path):
    path = tmp_path / "text.png"
    path.write_text("not a picture")
    code, _, err = call(capfd, "compare", "conv2d x[1,3,8,8] w[2,3,3,3]", "--image", str(path))
    assert code == 2
    assert "text.png" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("argv", [["--backends", "cupy"], ["--device", "cuda"]])
def test_what_is_asked_for_by_name_and_missing_is_exit_3(capfd, argv):
    import torch

    if torch.cuda.is_available() and argv[0] == "--device":
        pytest.skip("there is a CUDA device")
    code, out, err = call(capfd, "compare", CASE, "--no-records", *argv)
    assert (code, out) == (3, "")
    assert err.count("\n") == 1


def test_a_run_in_which_nothing_was_compared_is_no_success(capfd):
    case = "conv2d x[1,64,56,56] w[64,64,3,3]"
    code, out, _ = call(
        capfd,
        "compare",
        case,
        "--backends",
        "naive",
        "--patience",
        "0.1",
        "--no-records",
        "--no-time",
    )
    assert code == 3
    assert out.startswith("✘ nothing was compared")


def test_a_picture_is_an_input(capfd, tmp_path):
    from PIL import Image

    path = tmp_path / "gradient.png"
    Image.linear_gradient("L").convert("RGB").save(path)
    code, out, _ = call(
        capfd, "compare", "conv2d x[2,3,8,6] w[2,3,3,3]", "--image", str(path), "--json", *QUICK
    )
    assert code == 0
    data = {c["data"] for r in json.loads(out)["results"] for c in r["checks"]}
    assert data == {"integer", "image"}


def test_json_is_json_and_nothing_else(capfd):
    code, out, _ = call(capfd, "compare", CASE, "--json", *QUICK, "--backward")
    whole = json.loads(out)
    assert code == 0
    assert (whole["schema"], whole["exit_code"]) == ("refconv.compare/1", 0)
    assert [r["backend"] for r in whole["results"]] == ["naive", "im2col", "torch"]


def test_json_and_markdown_go_to_files_beside_the_table(capfd, tmp_path):
    files = tmp_path / "a.json", tmp_path / "a.md"
    _, out, _ = call(capfd, "compare", CASE, "--json", str(files[0]), "--md", str(files[1]), *QUICK)
    assert out.startswith("✔")
    assert json.loads(files[0].read_text())["results"]
    assert "| backend |" in files[1].read_text()


def test_records_are_appended_and_the_file_is_named(capfd, tmp_path):
    from refconv.harness.records import read

    path = tmp_path / "r.jsonl"
    argv = ["compare", CASE, "--backends", "im2col,torch", "--no-time", "--records", str(path)]
    for count in (3, 6):
        _, _, err = call(capfd, *argv)
        assert str(path) in err
        assert len(list(read(path))) == count


def test_interruption_is_exit_130_and_says_what_is_kept(capfd, monkeypatch, tmp_path):
    from refconv.harness import compare

    real, count = compare.compare, []

    def interrupted(*args):
        if count:
            raise KeyboardInterrupt
        count.append(1)
        yield from real(*args)

    monkeypatch.setattr(compare, "compare", interrupted)
    path = tmp_path / "r.jsonl"
    code, _, err = call(
        capfd,
        "compare",
        CASE,
        CASE,
        "--backends",
        "im2col,torch",
        "--no-time",
        "--records",
        str(path),
    )
    assert code == 130
    assert f"2 records are kept in {path}" in err
    assert len(path.read_text().splitlines()) == 3


def test_many_cases_are_a_line_each_with_totals(capfd):
    code, out, _ = call(
        capfd, "compare", CASE, "max_pool2d x[1,2,6,5] k2", "pad x[1,3] p1 reflect", *QUICK
    )
    assert code == 0
    assert out.startswith("✔ all 3 cases agree: naive 3, im2col 3, torch 3")
    assert sum("max_pool2d" in line for line in out.splitlines()) == 1


def test_help_imports_no_heavy_library():
    code = (
        "import sys\nfrom refconv import cli\ncode = cli.main(sys.argv[1:])\n"
        "heavy = {'torch', 'numba', 'numpy', 'cupy', 'PIL'} & set(sys.modules)\n"
        "assert code == 0 and not heavy, (code, heavy)"
    )
    for argv in (["--help"], ["compare", "--help"], ["--version"]):
        env = dict(os.environ, PYTHONPATH=str(ROOT))
        subprocess.run(
            [sys.executable, "-c", code, *argv], check=True, env=env, capture_output=True
        )


def test_a_closed_pipe_is_quiet():
    command = f"{sys.executable} -m refconv compare '{CASE}' {' '.join(QUICK)} | head -n 1"
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=env)
    assert done.stdout.startswith("✔")
    assert done.stderr == ""


def test_ascii_where_the_output_cannot_do_more():
    done = refconv("compare", CASE, *QUICK, env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("OK all 3 agree")
    done.stdout.encode("ascii")


def model(capfd, *argv):
    quick = ["--in", "3x32x32", "--no-records", "--backends", "im2col,torch"]
    return call(capfd, "compare", f"{LENET}:LeNet", *quick, *argv)


def column(out, head, case):
    """The cell under ``head`` in the row of ``case``; columns are two spaces apart."""
    lines = [re.split(r"  +", line.strip()) for line in out.splitlines()]
    heads = []
    for line in lines:
        heads = line if line[0] in ("case", "backend") else heads
        if line[0] == case and head in heads:
            return line[heads.index(head)]
    raise AssertionError(f"no {case} with {head} in {out}")


def test_a_model_shows_its_distances_apart_from_the_bound(capfd):
    code, out, _ = model(capfd, "--no-time")
    assert code == 0
    assert column(out, "err/bound", "LeNet (whole model)") == "–"
    assert 0 < float(column(out, "err/bound", "conv1")) < 1
    assert column(out, "err/bound", "forward() max_pool2d") == "equal"
    for case in ("conv1", "forward() max_pool2d #2", "LeNet (whole model)", "im2col"):
        assert 0 < float(column(out, "propagated", case)) < 1e-5
    assert "within F1 / bit for bit, up to 151 terms · layers on the inputs" in out
    assert "propagated: in the run of the whole model, the largest distance from torch" in out
    assert out.splitlines()[-1] == (f"  repro: refconv compare {LENET}:LeNet --in 3x32x32 --seed 0")
    _, plain, _ = call(capfd, "compare", CASE, "pad x[1,3] p1 reflect", *QUICK)
    assert "propagated" not in plain


def test_options_reach_a_model(capfd, tmp_path):
    from PIL import Image

    path = tmp_path / "a picture.png"
    Image.linear_gradient("L").convert("RGB").save(path)
    options = ["--dtype", "float64", "--patience", "1e-9", "--seed", "7", "--image", str(path)]
    argv = ["--backends", "naive,torch", "--device", "cpu", "--no-time", *options]
    code, out, _ = model(capfd, "--json", *argv)
    rows = json.loads(out)["results"]
    assert code == 3  # naive was named, and is too slow everywhere
    assert {r["dtype"] for r in rows} == {"float64"}
    assert {r["seed"] for r in rows} == {7}
    assert {c["data"] for r in rows for c in r.get("checks", ())} == {"image"}
    assert all("too slow" in r["reason"] for r in rows if r["backend"] == "naive")
    assert not any("timing" in r for r in rows)
    _, out, _ = model(capfd, *argv)
    assert f"--dtype float64 --seed 7 --image '{path}' --device cpu --patience 1e-09" in out
    _, out, _ = model(capfd, "--json")
    assert any("timing" in r for r in json.loads(out)["results"])


def test_options_of_a_model_are_those_of_compare(capfd, monkeypatch):
    from refconv.harness import models

    seen = {}

    def recorded(spec, in_shape, **options):
        seen.update(options)
        return iter(())

    monkeypatch.setattr(models, "compare_model", recorded)
    model(capfd, "--allow", "tf32", "--patience", "3", "--no-time", "--device", "cpu")
    assert seen == {
        "backends": ("im2col", "torch"), "devices": ("cpu",), "backward": False, "seed": 0,
        "time": False, "image": None, "allow": frozenset({"tf32"}), "patience": 3.0,
        "budget": 0.15, "dtype": "float32",
    }  # fmt: skip


def test_the_repro_line_of_a_wrong_layer_shows_it_again(capfd, monkeypatch):
    from refconv.kernels.im2col import conv

    real = conv.fprop

    @functools.wraps(real)
    def wrong(out, *args, **keywords):
        real(out, *args, **keywords)
        if out.dtype == "float32" and out.shape[1] == 16:
            out.flat[7] += 1e-3

    monkeypatch.setattr(conv, "fprop", wrong)
    code, out, _ = model(capfd, "--no-time")
    assert code == 1
    assert "2 differ: im2col" in out.splitlines()[0]
    assert column(out, "im2col", "conv2") == "WRONG"
    repro = out.splitlines()[-1].removeprefix("  repro: refconv ")
    assert repro == f"compare {LENET}:LeNet --in 3x32x32 --seed 0 --backends im2col"
    again, out, _ = call(capfd, *shlex.split(repro), "--no-time", "--no-records")
    assert again == 1
    assert "LeNet.conv2: im2col on cpu: wrong" in out


def test_nothing_right_is_not_called_equal(capfd, monkeypatch):
    from refconv.oracle import verdict

    real = verdict.compare

    def wrong(got, want, bound, *a):
        return real(got * 2 if bound.dtype == "float32" else got, want, bound, *a)

    monkeypatch.setattr(verdict, "compare", wrong)
    _, out, _ = call(capfd, "compare", CASE, "pad x[1,3] p1 reflect", *QUICK)
    assert column(out, "err/bound", CASE) == "–"


def test_cases_without_the_dtype_are_skipped_and_counted(capfd, tmp_path):
    file = tmp_path / "few.txt"
    file.write_text(
        "a: conv1d x[1,2,9] w[3,2,3]\nb: max_pool1d x[1,2,9] k2\nc: unfold x[1,2,5,5] k3"
    )
    code, out, _ = call(capfd, "compare", str(file), "--dtype", "complex64", *QUICK)
    assert code == 0
    assert out.splitlines()[0] == (
        "✔ all 2 cases agree: naive 2, im2col 2, torch 2; 1 case not defined for complex64"
    )
    assert column(out, "verdict", "b") == "skipped"
    assert "  skipped: not defined for complex64: max_pool1d\n" in out
    _, out, _ = call(capfd, "compare", str(file), "--dtype", "complex64", "--json", *QUICK)
    rows = [r for r in json.loads(out)["results"] if r["case"] == "b"]
    assert [(r["status"], r["dtype"]) for r in rows] == [("skipped", "complex64")] * 3
    assert all("max_pool1d: not defined for complex64" in r["reason"] for r in rows)


@pytest.mark.parametrize("columns", [80, 100])
def test_help_explains_every_option_in_one_line(columns):
    done = refconv("compare", "--help", env={"COLUMNS": str(columns), "PYTHONUTF8": "1"})
    options = done.stdout.partition("Options")[2].splitlines()[1:]
    box = [line.strip("│").rstrip() for line in options if line.startswith("│")]
    assert len(box) == 16
    assert all(re.match(r" --\w", line) for line in box)
    assert max(map(len, done.stdout.splitlines())) <= columns


def test_the_example_of_the_help_runs(capfd):
    [example] = re.findall(r"Example: refconv (.*?) *$", compare.EPILOG, re.MULTILINE)
    quick = ["--no-time", "--no-records", "--backends", "im2col,torch"]
    code, _, err = call(capfd, *shlex.split(example), *quick)
    assert code == 0, err
