"""The arithmetic with numbers put in: what stands before the equals sign is computed."""

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from refconv import label, window
from refconv.learn.arithmetic import FORMULAS, Axis, axes, family, formula, line
from refconv.ops import OPS

GEOMETRY = {
    "size": st.integers(1, 14),
    "kernel": st.integers(1, 6),
    "stride": st.integers(1, 5),
    "padding": st.integers(0, 4),
    "dilation": st.integers(1, 4),
}
FEW = settings(max_examples=80, deadline=None)


def value(text):
    """The number that the text before `` = `` comes to."""
    return eval(text.partition(" = ")[0], {"floor": math.floor, "ceil": math.ceil})


def holds(text):
    """Both sides of the equals sign are the same number."""
    assert value(text) == float(text.partition(" = ")[2]), text


@FEW
@given(rule=st.sampled_from(["conv", "pool"]), ceil_mode=st.booleans(), **GEOMETRY)
def test_text_of_a_sliding_window_is_the_number_of_its_positions(
    rule, size, kernel, stride, padding, dilation, ceil_mode
):
    """The text computes to the size and says floor or ceil where it matters; cells are counted."""
    padding = min(padding, kernel // 2) if rule == "pool" else padding
    axis = Axis.of(
        rule, size, kernel=kernel, stride=stride, padding=(padding, padding), dilation=dilation,
        ceil_mode=ceil_mode and rule == "pool",
    )  # fmt: skip
    if axis.out < 1:
        return
    holds(axis.text)
    exact = (size + 2 * padding - axis.extent) % stride == 0
    assert ("floor" in axis.text or "ceil" in axis.text) != exact
    if rule == "pool":
        pool = torch.nn.MaxPool1d(kernel, stride, padding, dilation, ceil_mode=axis.ceil_mode)
        assert pool(torch.zeros(1, 1, size)).shape[-1] == axis.out
    else:
        w = torch.zeros(1, 1, kernel)
        y = torch.conv1d(torch.zeros(1, 1, size), w, None, stride, padding, dilation)
        assert y.shape[-1] == axis.out
    last = (axis.out - 1) * stride + dilation * (kernel - 1)
    beyond = [cell for cell in range(size + 2 * padding) if cell > last]
    assert axis.left_over == len(beyond)
    assert axis.left_over_inside == sum(cell < size + padding for cell in beyond)
    for text in axis.notations.values():
        holds(text)


@FEW
@given(output_padding=st.integers(0, 3), **GEOMETRY)
def test_text_of_a_transposed_window(size, kernel, stride, padding, dilation, output_padding):
    """As torch has it; and the cells that only get the bias are those that no stamp reaches."""
    axis = Axis.of(
        "transposed", size, kernel=kernel, stride=stride, padding=(padding, padding),
        dilation=dilation, output_padding=output_padding % max(stride, dilation),
    )  # fmt: skip
    if axis.out < 1:
        return
    holds(axis.text)
    y = torch.conv_transpose1d(
        torch.ones(1, 1, size), torch.ones(1, 1, kernel), None, stride, padding,
        axis.output_padding, 1, dilation,
    )  # fmt: skip
    assert y.shape[-1] == axis.out
    assert axis.bias_only == int((y == 0).sum())


LINES = {
    "conv2d x[1,3,32,32] w[6,3,5,5]": ("(32+0-5)/1+1 = 28", 0),
    "conv2d x[1,64,96,96] w[64,64,4,4] s2 p1": ("(96+2*1-4)/2+1 = 48", 0),
    "conv2d x[1,3,7,7] w[6,3,4,4] s2 p1": ("floor((7+2*1-4)/2)+1 = 3", 1),
    "conv2d x[1,3,32,32] w[6,3,3,3] p2 d2": ("(32+2*2-2*(3-1)-1)/1+1 = 32", 0),
    "conv2d x[1,3,32,32] w[6,3,4,4] p=same": ("(32+1+2-4)/1+1 = 32", 0),
    "conv3d x[1,1,3,8,9] w[1,1,3,3,3]": (
        "D (3+0-3)/1+1 = 1, H (8+0-3)/1+1 = 6, W (9+0-3)/1+1 = 7",
        0,
    ),
    "conv1d x[1,2,8] w[3,2,3] y[1,3,4]": ("(8+0-3)/1+1 = 6, but 4 are computed", 2),
    "max_pool2d x[1,6,28,28] k2": ("(28-2)/2+1 = 14", 0),
    "max_pool2d x[1,6,5,5] k2 ceil": ("ceil((5-2)/2)+1 = 3", 0),
    "max_pool2d x[1,6,5,5] k2 s3 p1 ceil": ("ceil((5+2*1-2)/3)+1-1 = 2", 2),
    "lp_pool2d x[1,2,5,5] norm2 k3 s1": ("(5-3)/1+1 = 3", 0),
    "conv_transpose2d x[1,8,12,12] w[8,4,4,4] s2 p1": ("(12-1)*2-2*1+1*(4-1)+0+1 = 24", 0),
    "adaptive_avg_pool2d x[1,8,10,10] o7": ("output_size = 7", 0),
    "max_unpool2d x[1,2,3,3] o6,6": ("output_size = 6", 0),
    "unfold x[1,2,5,5] k3": ("(5+0-3)/1+1 = 3", 0),
    "fold x[1,18,9] o5 k3": ("output_size = 5, of (5+0-3)/1+1 = 3 windows", 0),
    "pad x[1,2,5,5] p1,-2:0 reflect": ("H 5+1+1 = 7, W 5-2+0 = 3", 0),
    "pad x[7] p2": ("7+2+2 = 11", 0),
}


@pytest.mark.parametrize("text", LINES)
def test_every_problem_has_its_line(text):
    """The arithmetic of a whole op, and what its axes leave over."""
    problem = label.parse(text)
    found = axes(problem)
    assert (line(problem), max(axis.left_over for axis in found)) == LINES[text]
    assert tuple(axis.out for axis in found)[-1] in problem.output_shape or problem.op == "unfold"
    assert all(axis.as_dict()["text"] == axis.text for axis in found)


def test_notes_say_what_a_reader_may_stumble_over():
    """Left over, dropped, reaching beyond, skipped, bias only, adaptive windows, cropped."""
    notes = {
        "conv1d x[1,1,8] w[1,1,3] s2": "1 cell left over behind the last window",
        "conv1d x[1,1,9] w[1,1,4] s3 p1": "1 cell left over behind the last window, padding only",
        "conv1d x[1,1,7] w[1,1,4] s2 p1": "1 cell left over behind the last window, padding only",
        "max_pool1d x[1,1,5] k2 s3 p1 ceil": "would start in the padding behind the input: dropped",
        "max_pool1d x[1,1,5] k2 ceil": "reaches beyond the padded input",
        "conv1d x[1,1,7] w[1,1,1] s3": "2 cells skipped between two windows",
        "conv_transpose1d x[1,1,3] w[1,1,1] s2": "reaches 2 cells of the output: bias only",
        "adaptive_avg_pool1d x[1,1,10] o7": "windows of 2 to 3: floor(o*10/7) to ceil((o+1)*10/7)",
        "pad x[5] p-2:1": "2 cells cropped",
    }
    for text, note in notes.items():
        (axis,) = axes(label.parse(text))
        assert any(said.endswith(note) for said in axis.notes), (text, axis.notes)
    assert axes(label.parse("conv1d x[1,1,8] w[1,1,3]"))[0].notes == ()


@FEW
@given(output_padding=st.integers(0, 3), **GEOMETRY)
def test_the_general_formulas_are_those_that_compute(
    size, kernel, stride, padding, dilation, output_padding
):
    """Each formula with letters, evaluated, gives what ``window`` gives; short ones if d = 1."""
    letters = {"i": size, "n": size, "k": kernel, "s": stride, "p": padding, "d": dilation}
    letters |= {"H_in": size, "padding": padding, "dilation": dilation, "stride": stride}
    letters |= {"kernel_size": kernel, "op": output_padding, "output_padding": output_padding}

    def compute(kind, name, **changed):
        right = FORMULAS[kind][name].partition(" = ")[2].partition(", where")[0]
        right = re.sub(r"\b2p\b", "2*p", right)
        return eval(right, {"floor": math.floor}, letters | changed)

    sizes = (size, kernel, stride, padding)
    for kind in ("conv", "pool"):
        assert compute(kind, "full") == window.out_size(*sizes, dilation)
        assert compute(kind, "torch") == window.out_size(*sizes, dilation)
        assert compute(kind, "simple") == window.out_size(*sizes)
    assert compute("conv", "d2l", p=2 * padding) == window.out_size(*sizes)
    transposed = window.conv_transpose_out_size(*sizes, output_padding, dilation)
    assert compute("conv_transpose", "full") == compute("conv_transpose", "torch") == transposed
    simple = window.conv_transpose_out_size(*sizes, output_padding)
    assert compute("conv_transpose", "simple") == simple


def test_every_op_has_a_formula():
    """Every row of the op table, and no other name."""
    for name in OPS:
        assert formula(name).startswith("simple"), name
        assert max(map(len, formula(name).splitlines())) <= 100
    with pytest.raises(KeyError):
        family("linear")
    with pytest.raises(TypeError, match="expected a problem, got str"):
        axes("conv2d")


def test_same_padding_needs_no_size_at_stride_one():
    """Question 18, as it is asked; with a stride the size is needed."""
    styles = ("torch", "tf", "onnx_upper")
    assert {window.same_padding(None, 4, style=style) for style in styles} == {(1, 2)}
    assert window.same_padding(None, 4, style="onnx_lower") == (2, 1)
    assert {window.same_padding(size, 4, style="tf") for size in range(1, 9)} == {(1, 2)}
    with pytest.raises(ValueError, match="with stride 2 the zeros depend on the size"):
        window.same_padding(None, 4, 2, style="tf")
