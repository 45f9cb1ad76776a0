"""``refconv trace``: what it prints, the steps, and the keys of a real terminal."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from urllib.parse import parse_qs

import numpy as np
import pytest

import refconv as rc
from refconv.backends import _cuda_emulator as emulator
from refconv.cli import main
from refconv.cli.trace_keys import NAMES
from refconv.cli.trace_steps import Steps
from refconv.learn.trace_link import start
from refconv.learn.trace_show import lines


def run(capsys, *argv):
    code = main(["trace", *argv])
    got = capsys.readouterr()
    return code, got.out, got.err


def test_the_demo_is_the_mock_up(capsys):
    """Every figure of it, and torch's verdict."""
    code, out, _ = run(capsys, "cs231n", "--at", "0,0,0")
    assert code == 0
    assert out.startswith("y[0,0,0] = 7   ✔ equal to torch's\n")
    for line in (
        "· · ·   -1 -1  0         · · ·    1  1 -1         · · ·    0 -1  0",
        "· 1 2 ×  1  1  1  = 4    · 2 0 ×  0  0  0  = 1    · 0 0 × -1  0 -1  = 1",
        "channel 0: 1·1 + 2·1 + 1·1 + 0·0 = 4",
        "4 + 1 + 1 + b 1 = 7   ✔ torch 7     27 products, 12 inside the input",
        "flipped kernel (true convolution) would give 4: torch computes cross-correlation",
        "im2col row 0 of 9: · · · · 1 2 · 1 0 | · · · · 2 0 · 1 0 | · · · · 0 0 · 0 1",
    ):
        assert line in out


def test_how_many_kernels_and_sub_kernels(capsys):
    """Questions 5, 28 and 29."""
    _, out, _ = run(capsys, "nn.Conv2d(64,128,4,2,1)", "--no-torch")
    assert "128 kernels of 64x4x4: 64 sub-kernels of 4x4 in each, 8,192 in all" in out
    assert "131,200 params" in out
    _, out, _ = run(capsys, "nn.Conv2d(3,6,5)", "--no-torch")
    assert "6 kernels of 3x5x5: 3 sub-kernels of 5x5 in each" in out


WIDE = """
nn.Conv2d(64,128,4,2,1)
nn.Conv2d(256,8,3,padding=1)
nn.Conv2d(3,64,11,4,2)
nn.Conv2d(3,8,31)
nn.Conv3d(8,8,3)
nn.Conv2d(8,8,3,groups=8)
nn.ConvTranspose2d(16,8,4,2,1)
nn.ConvTranspose3d(2,2,3,2,1,output_padding=1)
nn.MaxPool2d(3,2,1)
nn.AvgPool3d(3,2,1)
nn.AdaptiveAvgPool2d((3,2))
""".strip().splitlines()


@pytest.mark.parametrize("spec", WIDE)
@pytest.mark.parametrize("real", [False, True])
def test_a_page_is_one_screen(spec, real):
    """100 columns, 36 lines; 80 columns too."""
    for width in (100, 80):
        page = lines(rc.trace(spec, real=real), width)
        assert max(line.cell_len for line in page) <= width
        assert len(page) <= 36


def test_what_is_folded_is_still_summed():
    """The note's sum and those shown make the total."""
    found = rc.trace("nn.Conv2d(64,128,4,2,1)")
    text = str(found)
    more, rest = re.search(r"… (\d+) more", text), re.search(r"= (-?\d+) together", text)
    shown = [int(v) for v in re.findall(r"(?<=[\d ])  = (-?\d+)(?=\s|$)(?! together)", text)]
    assert int(more[1]) + len(shown) == 64
    assert sum(shown) + int(rest[1]) + found.bias == found.value


def test_json_and_files(capsys, tmp_path):
    """Arrays from files; JSON alone on stdout; what came out instead."""
    x = np.arange(18.0).reshape(1, 2, 3, 3)
    w = np.ones((1, 2, 2, 2))
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "w.npy", w)
    argv = ["nn.Conv2d(2,1,2,bias=False)", "--x", str(tmp_path / "x.npy"), "--w",
            str(tmp_path / "w.npy"), "--json", "--got", "0"]  # fmt: skip
    code, out, _ = run(capsys, *argv)
    document = json.loads(out)
    assert code == 1
    assert document["value"] == document["torch"] == x[0, :, :2, :2].sum()
    assert document["schema"] == "refconv.trace/1"
    assert document["mismatch"]["got"] == 0
    code, out, _ = run(capsys, *argv[:-1], "52")
    assert (code, json.loads(out)["mismatch"]["right"]) == (0, True)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["cs231n", "--at", "0,x"], "an output is written 0,0,1, got '0,x'"),
        (["cs231n", "--got", "seven"], "--got: must be a number, got 'seven'"),
        (["cs231n", "--x", "nowhere.npy"], "nowhere.npy cannot be read: No such file"),
        (["cs231n", "--kernel", "metal"], "write cuda or cuda:STEP"),
        (["nn.Conv2d(6,16,5)", "--in", "1x3x9x9"], "weight"),
        (["nn.Bilinear(2,2,2)"], "refconv has no Bilinear"),
    ],
)
def test_a_mistake_is_one_line(capsys, argv, words):
    code, out, err = run(capsys, *argv)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert words in err


def test_code_shows_the_line_and_its_numbers(capsys):
    _, out, _ = run(capsys, "cs231n", "--code", "--no-torch")
    assert re.search(r"> +\d+ +total \+= x\[n, c, id, ih, iw\] \* w\[oc, ic, kd, kh, kw\]", out)
    assert "n=0 oc=0 od=0 oh=0 ow=0 ic=0 kd=0 kh=1 kw=1" in out
    assert "1 · 1 = 1" in out


def lit(page):
    """How many cells are shown in reverse."""
    return sum("reverse" in str(span.style) for line in page for span in line.spans)


def text(steps):
    return "\n".join(line.plain for line in steps.page(100))


def test_steps_follow_keys():
    """Every key changes what it says; the ends meet."""
    steps = Steps(rc.trace("cs231n"))
    values = [steps.trace.value]
    for _ in range(18):
        assert steps.press("n")
        values.append(steps.trace.value)
    assert values == [7, 9, 10, 0, 6, 10, 2, 5, 2, 4, 4, 4, 5, 1, 2, 2, 6, 0, 7]
    steps.press("left")
    assert steps.trace.at == (1, 2, 2)
    steps.press("f")
    assert steps.trace.at == (0, 2, 2)
    for key in ("g", "1", ",", "0", ",", "9", "back", "2", "enter"):
        assert steps.press(key)
    assert steps.trace.at == (1, 0, 2)
    for key in ("g", "7", "enter"):
        steps.press(key)
    assert "there is no output 7" in text(steps)
    assert steps.trace.at == (1, 0, 2)
    assert "im2col row 2 of 9" in text(steps)
    steps.press("i")
    assert "im2col row" not in text(steps)
    assert not steps.press("q")


def test_products_are_walked_one_by_one():
    """The lit cell, the line of code and its numbers belong together."""
    steps = Steps(rc.trace("cs231n"))
    steps.press("c")
    assert (steps.cursor, steps.code) == (0, True)
    assert "-1,-1 is outside: nothing is added" in text(steps)
    assert re.search(r"> +\d+ +if 0 <= id < ID", text(steps))
    for _ in range(4):
        steps.press("down")
    assert "1 · 1 = 1" in text(steps)
    assert re.search(r"> +\d+ +total \+= x", text(steps))
    lit = [
        str(s.style) for line in steps.page(100) for s in line.spans if "reverse" in str(s.style)
    ]
    assert len(lit) == 2  # the value and its weight
    steps.press("up")
    assert steps.cursor == 3


def test_a_lit_product_is_never_folded_away():
    """Of 64 channels six fit; the one with the cursor is among them."""
    found = rc.trace("nn.Conv2d(64,8,4,2,1)")
    for cursor in (0, 500, 1023):
        page = lines(found, 100, cursor)
        assert lit(page) == 2
        assert any(f"channel {cursor // 16} " in f"{line.plain} " for line in page)


def test_the_page_gets_the_same_layer_numbers_and_output(capsys, tmp_path, monkeypatch):
    """Of one's own numbers too; what the page has not is refused."""
    address = {k: v[0] for k, v in parse_qs(start(rc.trace("cs231n", (1, 2, 0)))).items()}
    assert (address["op"], address["kernel"], address["stride"]) == ("conv", "3,3", "2,2")
    assert address["at"] == "0.1.2.0"
    cells = dict(cell.split(":") for cell in address["edit_w"].split(";"))
    assert (cells["1.2.2.2"], cells["0.0.1.1"], len(cells)) == ("1", "1", 54)
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "nn.MaxPool2d(2)", "--html", "own.html")
    assert (code, out[:2], err) == (0, "y[", "page: own.html\n")
    assert "op=max&" in (tmp_path / "own.html").read_text()
    steps = Steps(rc.trace("nn.Conv1d(2,2,3)"))
    steps.press("h")
    assert "the page shows two spatial axes" in text(steps)
    steps = Steps(rc.trace("cs231n"))
    steps.press("h")
    assert (tmp_path / "refconv-trace.html").exists()


@pytest.mark.parametrize("spec", ["cs231n", "nn.Conv2d(16,8,3)", "nn.ConvTranspose2d(4,2,4,2,1)"])
def test_a_terminal_of_24_lines_is_enough(spec):
    """With the code as well; the keys are on the last line."""
    steps = Steps(rc.trace(spec), code=True)
    page = steps.page(80, 24)
    assert len(page) <= 24 + 6 * ("Transpose" in spec)
    assert page[-1].plain.startswith("[n]ext")


def test_the_maximum_stands_out():
    page = lines(rc.trace("nn.MaxPool2d(3,2,1)", (0, 1, 1)))
    bold = [line.plain[s.start : s.end] for line in page for s in line.spans if "green" in s.style]
    assert bold == [f"{rc.trace('nn.MaxPool2d(3,2,1)', (0, 1, 1)).value:g}".rjust(len(bold[0]))]


def _until(fd, words, seconds=60):
    """What the terminal shows up to these words."""
    seen, end = "", time.monotonic() + seconds
    while words not in seen:
        assert time.monotonic() < end, seen[-2000:]
        if select.select([fd], [], [], 0.2)[0]:
            seen += os.read(fd, 1 << 16).decode("utf-8", "ignore")
    return seen


def test_a_real_terminal_takes_keys():
    """Through a pseudo-terminal: arrows, letters, an index; the terminal is left as it was."""
    import termios

    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40", "NO_COLOR": "1"}
    argv = [sys.executable, "-m", "refconv", "trace", "cs231n", "--no-torch"]
    process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=env)
    try:
        _until(master, "[n]ext")
        os.write(master, b"n")
        _until(master, "y[0,0,1] = 9")
        os.write(master, b"\x1b[D\x1b[D")
        _until(master, "y[1,2,2] = 0")
        os.write(master, b"g0,1,2\r")
        _until(master, "y[0,1,2] = 10")
        os.write(master, b"c")
        _until(master, "kernels/naive/conv.py, fprop")
        os.write(master, b"q")
        assert process.wait(30) == 0
    finally:
        process.kill()
        after = termios.tcgetattr(slave)
        os.close(slave)
        os.close(master)
    assert after == before


def test_keys_have_names():
    assert NAMES[b"\x1b[C"] == "right"
    assert NAMES[b""] == "q"


def test_the_thread_of_a_kernel(capsys):
    """Block, thread and loads, in text and as JSON; without the window, to fit one screen."""
    if emulator.compiler() is None:
        pytest.skip("there is no C++ compiler")
    argv = ["cs231n", "--at", "1,1,1", "--kernel", "cuda", "--no-torch"]
    code, out, _ = run(capsys, *argv)
    assert code == 0
    assert "y[1,1,1] is written by block 1,0,0, thread 4,0,0: warp 0, lane 4" in out
    assert "it reads x 27, w 27, b 1; it writes y 1" in out
    assert max(map(len, out.splitlines())) <= 100
    _, out, _ = run(capsys, *argv, "--json")
    kernel = json.loads(out)["kernel"]
    assert (kernel["block"], kernel["thread"], kernel["own"]) == ([1, 0, 0], [4, 0, 0], 27)
