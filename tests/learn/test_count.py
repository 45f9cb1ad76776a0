"""Parameters as torch has them; multiplies as the naive loops do them, counted one by one."""

import numpy as np
import pytest
import torch

from kernels.naive import conv
from refconv import label
from refconv.errors import ShapeError, UnsupportedError, UsageError
from refconv.learn.count import flops, macs, macs_line, params, params_line, problem_macs


class Counted:
    """A number that counts how often it is multiplied."""

    done = 0

    def __mul__(self, other):
        Counted.done += 1
        return self

    def __add__(self, other):
        return self

    __radd__ = __add__


def multiplies(problem, whole):
    """How many products the naive loops compute.

    Args:
        whole: with the zeros of the padding there as numbers (of a transposed convolution: without
            cropping what it pads).
    """
    slot = problem.forward_slot
    inputs, outputs, _, (stride, padding, dilation, groups) = problem.call(slot)
    low = np.array(padding)
    high = np.array([1] * (3 - problem.rank) + [p for _, p in problem.padding])
    high[: 3 - problem.rank] = 0
    shapes = [list(shape) for shape in (*outputs, *inputs)]
    if whole:  # x is the padded side: of dgrad the output
        x = shapes[1] if slot == "conv_fprop" else shapes[0]
        x[2:] = [s + lo + hi for s, lo, hi in zip(x[2:], low, high, strict=True)]
        padding = (0, 0, 0)
    arrays = [np.full(shape, Counted(), dtype=object) for shape in shapes]
    Counted.done = 0
    kernel = conv.fprop if slot == "conv_fprop" else conv.dgrad
    kernel(*arrays, stride, tuple(padding), dilation, groups)
    return Counted.done


PROBLEMS = [
    "conv1d x[2,3,9] w[4,3,3] b s2 p1",
    "conv2d x[1,3,6,5] w[4,3,3,2] s2,1 p1,0 d1,2",
    "conv2d x[2,4,5,5] w[6,2,3,3] b p1 g2",
    "conv2d x[1,4,5,5] w[4,1,3,3] p2 g4",
    "conv2d x[1,2,5,5] w[2,2,4,4] p=same",
    "conv2d x[3,6,6] w[2,3,2,2] s3",
    "conv3d x[1,2,4,4,4] w[2,2,3,3,3] p1",
    "conv_transpose1d x[2,3,5] w[3,4,3] b s2 p1 op1",
    "conv_transpose2d x[1,4,3,3] w[4,3,4,4] s2 p1 g2",
    "conv_transpose2d x[1,4,3,3] w[4,1,3,3] s2 p1 g4 d2",
    "conv_transpose3d x[1,2,2,2,2] w[2,2,3,3,3] s2 p1",
]


@pytest.mark.parametrize("text", PROBLEMS)
def test_macs_are_the_multiplies_of_the_naive_loops(text):
    """Both counts; and twice as many FLOPs."""
    problem = label.parse(text)
    assert macs(problem, padding=False) == problem.macs == multiplies(problem, whole=False)
    assert macs(problem) == multiplies(problem, whole=True)
    assert flops(problem) == 2 * macs(problem)
    assert macs_line(problem).endswith(f" = {macs(problem):,}")


@pytest.mark.parametrize("text", PROBLEMS)
def test_params_are_those_of_torchs_layer(text):
    """The same layer in torch has as many, and its line adds up."""
    p = label.parse(text)
    made = getattr(torch.nn, f"Conv{'Transpose' * p.transposed}{p.rank}d")
    layer = made(p.in_channels, p.out_channels, p.kernel, groups=p.groups, bias=p.bias)
    assert params(p) == params(layer) == sum(w.numel() for w in layer.parameters())
    left, _, right = params_line(p).partition(" = ")
    assert eval(left) == int(right.replace(",", "")) == params(p)


def test_a_layer_needs_no_input_to_have_parameters():
    """Questions 6 and 23; a list of layers; what has none."""
    assert params("nn.Conv2d(3,6,5)") == 456
    assert params("nn.Conv2d(1,32,5,1,2)") == 832
    assert params("nn.ConvTranspose2d(16,8,4,groups=4,bias=False)") == 16 * 2 * 16
    assert params(["nn.Conv2d(3,6,5)", "nn.ReLU()", "nn.Linear(4, 2)", "nn.BatchNorm2d(6)"]) == 478
    assert params("nn.Linear(4, out_features=2, bias=False)") == 8
    assert params("nn.MaxPool2d(2)") == params("pad x[3,4] p1") == macs("pad x[3,4] p1") == 0


def test_a_chain_is_the_sum_of_its_layers():
    """LeNet, as code, as modules and as labels: 61,706 + 300 for three colours; 651,720 MAC."""
    code = (
        "nn.Sequential(nn.Conv2d(3,6,5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6,16,5), nn.ReLU(), "
        "nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400,120), nn.ReLU(), nn.Linear(120,84), "
        "nn.ReLU(), nn.Linear(84,10))"
    )
    nn = torch.nn
    module = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
        nn.Linear(84, 10),
    )  # fmt: skip
    assert params(code) == params(module) == 62_006
    assert macs(code, "3x32x32") == macs(module, (3, 32, 32)) == 651_720
    assert macs(code, "5x3x32x32") == 5 * 651_720
    assert flops(code, "3x32x32") == 1_303_440
    shared = nn.Linear(3, 3)
    assert params(nn.Sequential(shared, shared)) == 12


def test_questions_that_have_no_answer_say_why():
    """No size, no layer, layers that do not fit together."""
    with pytest.raises(UsageError, match="does not say how large its input is: give in_shape"):
        macs("nn.Conv2d(3,6,5)")
    with pytest.raises(UsageError, match=r"a layer is a problem, .* got LSTM"):
        macs([torch.nn.LSTM(3, 3)], "3x3")
    with pytest.raises(UnsupportedError, match="the multiplies of lstm are not counted"):
        macs(torch.nn.LSTM(3, 3), "3x3")
    with pytest.raises(UsageError, match="got int"):
        params(3)
    with pytest.raises(UsageError, match="it takes in_features, out_features, bias"):
        params("nn.Linear(3)")
    with pytest.raises(UsageError, match="there are no positions, but nn"):
        macs(["nn.Flatten()", "nn.Conv2d(3,6,5)"], "3x8x8")
    with pytest.raises(UsageError, match="does not take the"):
        macs(["nn.Conv2d(3,6,5)", label.parse("conv2d x[6,9,9] w[1,6,3,3]")], "3x8x8")
    with pytest.raises(ShapeError, match="axis 1 must be input channels"):
        macs(["nn.Conv2d(3,6,5)", "nn.Conv2d(3,6,1)"], "3x8x8")
    assert problem_macs(label.parse("conv2d x[0,3,5,5] w[2,3,3,3]")) == 0
