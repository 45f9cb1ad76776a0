"""The command line: exit codes, one-line errors, where output goes. In-process, a few in a real
process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from refconv import cli

ROOT = Path(__file__).resolve().parents[2]
CASE = "conv2d x[1,2,5,4] w[3,2,3,2] b"
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
        (["compare", "conv2d x[1,3,8,8] w[2,3,3,3]", "--image", "missing.png"], "cannot be read"),
        (["compare", "nowhere.py:Net", "--in", "3x32x32"], "nowhere.py"),
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
