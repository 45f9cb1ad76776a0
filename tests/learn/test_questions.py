"""Each of the 34 questions is answered by its one command; the wrong answers are refuted."""

import io
import re
import shlex
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path

import pytest

import refconv as rc
from refconv.cli import DIFFERS, OK, main
from refconv.learn.questions import questions

QUESTIONS = {q.id: q for q in questions()}
ROOT = Path(__file__).resolve().parents[2]

#: What the command prints, as patterns of one line each; ``{answer}`` is the quiz's number.
SHOWN = {
    1: [
        r"^ +1  conv2d .* 6x28x28 +\(32\+0-5\)/1\+1 = 28 ",
        r"^ +2  max_pool2d .* 6x14x14 +\(28-2\)/2\+1 = 14 ",
        r"^ +3  conv2d .* 16x10x10 +\(14\+0-5\)/1\+1 = 10 ",
        r"^ +4  max_pool2d .* 16x5x5 +\(10-2\)/2\+1 = 5 ",
        r"^ +5  view .* 16\*5\*5 = {answer} ",
    ],
    2: [
        r"^ +2  max_pool2d .* forward\(\)$",
        r"^ +4  max_pool2d .* forward\(\)$",
        r"^ +5  view .* forward\(\)$",
        r"^ +1  conv2d .* conv1$",
    ],
    3: [
        r"^ +in_channels +3 ",
        r"^ +out_channels +6 ",
        r"^ +kernel_size +5 ",
        r"^ +stride +1 .*default",
        r"^ +padding +0 .*default",
        r"^ +dilation +1 .*default",
        r"^ +groups +1 .*default",
    ],
    4: [r"F, the spatial extent, is the kernel's size: it is chosen, not computed$"],
    5: [r"^ +{answer} kernels of 3x5x5: ", r" -> y\[6,3,3\]"],
    6: [r"^{answer}$"],
    7: [r"^receptive field {answer}, stride 4;"],
    8: [
        r" 1x8x8 -> 1x3x3 ",
        r"^ +output +floor\(\(8\+0-3\)/2\)\+1 = {answer}$",
        r"^ +1 cell left over ",
    ],
    9: [
        r"✘ conv2d: padding='same' needs stride 1, got stride \(2, 2\)$",
        r"^ +fix: padding=1 .*= 48x48$",
    ],
    10: [r"✔ padding = {answer} \(the only answer\)$", r"\(96\+2\*1-4\)/2\+1 = 48$"],
    11: [
        r"^ +1  conv2d 3->64 .* 64x96x96 .* = 96 ",
        r"^ +2  conv2d 64->64 .* 64x48x48 .* = 48 ",
        r"^ +4  conv2d 64->128 .* 64x48x48 +{answer}x48x48 .* = 48 ",
        r"^ +6  conv2d 128->128 .* 128x24x24 .* = 24 ",
        r"^ +8  conv2d 128->256 .* 256x24x24 .* = 24 ",
        r"^ +10  conv2d 256->256 .* 256x12x12 .* = 12 ",
        r"^ +12  conv2d 256->512 .* 512x12x12 .* = 12 ",
        r"^ +14  conv2d 512->512 .* 512x6x6 .* = 6 ",
    ],
    12: [
        r"^ +16  flatten +512x6x6 +18432 +512\*6\*6 = {answer} ",
        r"^ +17  linear 18432->1024 .* in_features = 512\*6\*6 ✔",
        r"^ +total 26,000,705 params ",
        r"^ +parameters without those of normalisation: 25,996,993$",
    ],
    13: [r"^ +20  squeeze +1 +N +\[N,1\] -> \[N\] "],
    14: [
        r"a batch of Conv3d has {answer}$",
        r"^ +Conv1d +\[N, C, L\] +\[out, in/groups, k\] ",
        r"^ +Conv2d +\[N, C, H, W\] +\[out, in/groups, kh, kw\] ",
        r"^ +Conv3d +\[N, C, D, H, W\] +\[out, in/groups, kd, kh, kw\] ",
        r"20x16x50 -> 20x33x48 ",
        r"1x4x5x5 -> 1x8x5x5 ",
        r"20x16x50x10x20 -> 20x33x48x8x18 ",
    ],
    15: [
        r"^ +wiring +groups=4: .* see {answer} of the 8 input channels$",
        r"^ +dilation +2 .* spans 5x5$",
        r"^ +weight +\[16,2,3,3\] ",
        r"^ +bias .*number added to each output channel$",
    ],
    16: [r"^{answer}$"],
    17: [r"^\(2, 2\)$"],
    18: [r"^\(1, 2\)$"],
    19: [r"^{answer}$"],
    20: [r"^✔ .*simple and full agree when dilation is 1$", r"^ +d = 1: d\*\(k-1\)\+1 = k"],
    21: [
        r"^✔ F.conv2d is in the autograd graph \(ConvolutionBackward0\), as nn.Conv2d is; it owns",
        r"^ +weight and bias +owned: parameters.* passed in",
    ],
    22: [r"^ +output +\(18-1\)\*2-2\*1\+1\*\(4-1\)\+0\+1 = {answer}$", r"✔ .* -> 8x36x36 "],
    23: [r"^{answer}$"],
    24: [r"^ +output +\(28\+2\*2-5\)/1\+1 = {answer}$", r"✔ .* -> 32x28x28 "],
    25: [r"^✔ torch's convolutions take \[N, C, H, W\]", r"x\.permute\(0, 3, 1, 2\)"],
    26: [r"got 5-D: conv3d takes it$", r"fix: F\.conv3d.* -> 20x33x48x8x18$"],
    27: [r"^ +filters +{answer} of 1x4x4$"],
    28: [r"^ +{answer} kernels of 64x4x4: "],
    29: [r"of 64x4x4: {answer} sub-kernels of 4x4 in each, 8,192 in all; 131,200 params "],
    30: [r"^ +wiring +groups=1: every filter sees all 64 input channels$"],
    31: [r" -> y\[2,3,3\]", r"^ +4 \+ 1 \+ 1 \+ b 1 = 7 +✔ torch 7 "],
    32: [
        r"^ +1  conv2d .* 32x26x26 .* = 26 ",
        r"^ +2  conv2d .* 64x24x24 .* = 24 ",
        r"^ +3  max_pool2d .* 64x12x12 .* = 12 ",
        r"^ +4  flatten .* 64\*12\*12 = {answer} ",
        r"^ +5  linear 9216->128 ",
    ],
    33: [
        r"^ +output +\(24-2\)/2\+1 = {answer}$",
        r"^ +ceil_mode +False ",
        r"^ +stride +2 .*kernel's size",
    ],
    34: [r"leave the shape as it is: relu ×3, dropout ×2", r"^ +4  flatten +64x12x12 +9216 "],
}


@cache
def printed(command):
    """``(exit code, what is printed)`` of a question's command; of an expression its value."""
    if not command.startswith("refconv "):
        return OK, f"{eval(command, {'rc': rc})}\n"
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        code = main(shlex.split(command)[1:])
    return code, out.getvalue()


def found(pattern, answer, text):
    """The line that a pattern matches, or None."""
    return re.search(pattern.replace("{answer}", str(answer)), text, re.MULTILINE)


each = pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)


@each
def test_answered(question):
    """One command, the right figure, in the right place."""
    code, text = printed(question.command)
    assert code == (DIFFERS if question.id in (9, 26) else OK), text
    assert SHOWN[question.id]
    for pattern in SHOWN[question.id]:
        assert found(pattern, question.answer, text), f"{pattern} is not in:\n{text}"


@each
def test_other_figures_would_be_noticed(question):
    """With other digits in the lines that answer, or other words, no pattern is found."""
    _, text = printed(question.command)
    for pattern in SHOWN[question.id]:
        for line in text.splitlines():
            if found(pattern, question.answer, line):
                other = re.sub(r"\d", lambda m: str((int(m[0]) + 1) % 10), line)
                other = line.swapcase() if other == line else other
                text = text.replace(line, other)
        assert not found(pattern, question.answer, text), pattern


@each
def test_wrong_numbers_are_refuted(question):
    """Where the right number is shown, no number that people get instead is."""
    _, text = printed(question.command)
    patterns = [pattern for pattern in SHOWN[question.id] if "{answer}" in pattern]
    assert patterns or question.kind == "choice" or question.id == 17
    given = [question.answer + 1, *(w.value for w in question.wrong if w.value is not None)]
    for wrong in given:
        assert not any(found(pattern, f"{wrong:g}", text) for pattern in patterns), wrong


def test_eighteen_numbers():
    """Question 31: all of the cs231n example's, not one; its output is not 2x2x3."""
    made = [
        [[rc.trace("cs231n", (k, i, j)).value for j in range(3)] for i in range(3)] for k in (0, 1)
    ]
    assert made == [[[7, 9, 10], [0, 6, 10], [2, 5, 2]], [[4, 4, 4], [5, 1, 2], [2, 6, 0]]]
    _, text = printed("refconv trace cs231n")
    assert "y[2,2,3]" not in text


def test_paddings_of_the_paper():
    """Question 10: kernel 3 has one answer, kernel 4 with stride 1 only asymmetric ones."""
    found = rc.solve(kernel=3, stride=1, padding="?", size=96, out=96)
    assert [answer.values for answer in found.answers] == [{"padding": 1}]
    found = rc.solve(kernel=4, padding="?", size=32, out=32)
    assert not found.answers
    assert (1, 2) in found.asymmetric


def readme(name):
    """``(command, answer)`` of each row of a README's table of questions; ``net`` is a reader's."""
    row = re.compile(r"^\| .* \| `((?:refconv (?:explain|trace)|rc\.) ?[^`]*)`.* \| (.*) \|$", re.M)
    rows = row.findall((ROOT / name).read_text())
    return [(command, answer) for command, answer in rows if "(net" not in command]


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_readme_answers(name):
    """Each row's command prints the numbers of its answer; both READMEs have the same commands."""
    rows, number = readme(name), r"\d+(?:,\d{3})*"
    assert len(rows) >= 7
    assert [command for command, _ in rows] == [command for command, _ in readme("README.md")]
    for command, answer in rows:
        code, text = printed(command)
        assert code == OK, text
        shown = set(re.findall(number, text))
        assert set(re.findall(number, answer.split("`")[0])) <= shown, command
