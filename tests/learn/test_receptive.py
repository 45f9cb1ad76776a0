"""Receptive fields, judged by autograd: which inputs have a gradient for one output?"""

import json
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from refconv import label
from refconv.errors import ShapeError, UsageError
from refconv.learn.arithmetic import Axis
from refconv.learn.count import macs, params
from refconv.learn.receptive import Field, Node, fields, receptive_field

SIZE = 160
SMALL = {"kernel": st.integers(1, 4), "stride": st.integers(1, 3), "dilation": st.integers(1, 3)}
LAYER = st.fixed_dictionaries(
    {
        "rule": st.sampled_from(["conv", "pool", "transposed", "pad"]),
        "low": st.integers(0, 3),
        **SMALL,
    }
)


def step(x, rule, kernel, stride, dilation, low):
    """One layer of ones on x (1, 1, size), and its axis."""
    w = torch.ones(1, 1, kernel, dtype=x.dtype)
    numbers = {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": (low, low)}
    if rule == "conv":
        y = F.conv1d(x, w, None, stride, low, dilation)
    elif rule == "transposed":
        y = F.conv_transpose1d(x, w, None, stride, low, 0, 1, dilation)
    elif rule == "pool":
        low = min(low, kernel // 2)
        y = F.avg_pool1d(x, kernel, stride, low)
        numbers |= {"padding": (low, low), "dilation": 1}
    else:
        y = F.pad(x, (low, 1))
        numbers = {"padding": (low, 1)}
    return y, Axis.of(rule, x.shape[-1], **numbers)


def seen(x, y, o):
    """First and last input with a gradient for output ``o``; None if there is none."""
    (grad,) = torch.autograd.grad(y[0, 0, o], x, retain_graph=True)
    at = grad[0, 0].nonzero().flatten().tolist()
    return (at[0], at[-1]) if at else None


def judged(x, y, field):
    """The outputs around the middle see what the field says."""
    middle = y.shape[-1] // 2
    for o in range(middle, min(middle + 2 * field.period, middle + 12, y.shape[-1])):
        want = field.window(o)
        assume(want is None or (want[0] > 25 and want[1] < SIZE - 25))
        assert seen(x, y, o) == want, (o, field)


@settings(max_examples=60, deadline=None)
@given(st.lists(LAYER, min_size=1, max_size=3))
def test_chains_see_what_has_a_gradient(chain):
    """Dilation, padding, pooling and transposed convolution, one behind the other."""
    x = torch.ones(1, 1, SIZE, dtype=torch.float64, requires_grad=True)
    y, nodes = x, []
    for numbers in chain:
        assume(1 < y.shape[-1] < 1200)
        y, axis = step(y, **numbers)
        assert axis.out == y.shape[-1]
        nodes.append(Node((axis,), (len(nodes) - 1,)))
    (field,) = fields(nodes)[-1].axes
    judged(x, y, field)


@settings(max_examples=40, deadline=None)
@given(st.lists(LAYER, max_size=1), st.integers(1, 2), st.integers(0, 3), st.integers(1, 3))
def test_branches_see_the_union(before, stride, reach, dilation):
    """Two paths of the same stride, one of them over a transposed convolution (a small U-Net)."""
    x = torch.ones(1, 1, SIZE, dtype=torch.float64, requires_grad=True)
    y, nodes = x, []
    for numbers in before:
        y, axis = step(y, **numbers)
        nodes.append(Node((axis,), (-1,)))
    assume(20 < y.shape[-1] < 400)
    fork, start = y, len(nodes) - 1
    down, axis = step(fork, "conv", 2 * stride, stride, 1, 0)
    nodes.append(Node((axis,), (start,)))
    up, axis = step(down, "transposed", 2 * stride, stride, 1, 0)
    nodes.append(Node((axis,), (len(nodes) - 1,)))
    left = len(nodes) - 1
    right, axis = step(fork, "conv", 2 * reach + 1, 1, dilation, reach * dilation)
    nodes.append(Node((axis,), (start,)))
    size = min(up.shape[-1], right.shape[-1])
    y = up[..., :size] + right[..., :size]
    nodes.append(Node("pointwise", (len(nodes) - 1, left)))
    (field,) = fields(nodes)[-1].axes
    judged(x, y, field)


@pytest.mark.parametrize(("size", "out"), [(10, 4), (7, 3), (12, 4), (5, 8), (6, 2)])
def test_adaptive_windows(size, out):
    """Also where the output's size does not divide the input's."""
    x = torch.ones(1, 1, size, dtype=torch.float64, requires_grad=True)
    y = F.adaptive_avg_pool1d(x, out)
    (field,) = fields([Node((Axis("adaptive", size, out),), (-1,))])[0].axes
    assert [field.window(o) for o in range(out)] == [seen(x, y, o) for o in range(out)]


def conv(channels, kernel, stride=1, padding=0):
    return f"nn.Conv2d({channels},{channels},{kernel},{stride},{padding})"


POOL = "nn.MaxPool2d(2)"
LENET = ["nn.Conv2d(3,6,5)", "nn.ReLU()", POOL, "nn.Conv2d(6,16,5)", "nn.ReLU()", POOL]
VGG16 = [
    layer
    for times in (2, 2, 3, 3, 3)
    for layer in (*[conv(8, 3, 1, 1)] * times, POOL)
]  # fmt: skip
ALEXNET = [
    conv(8, 11, 4, 2), "nn.MaxPool2d(3,2)", conv(8, 5, 1, 2), "nn.MaxPool2d(3,2)",
    *[conv(8, 3, 1, 1)] * 3, "nn.MaxPool2d(3,2)",
]  # fmt: skip


@pytest.mark.parametrize(
    ("net", "size", "stride"), [(LENET, 16, 4), (VGG16, 212, 32), (ALEXNET, 195, 32)]
)
def test_nets_have_the_published_fields(net, size, stride):
    """AlexNet and VGG-16: Araujo, Norris and Sim, Distill 2019."""
    found = receptive_field(net)
    assert (found.size, found.stride) == (size, stride)
    assert found.text.startswith(f"receptive field {size}, stride {stride}; output 0 starts at ")
    assert len(found.layers) == sum("ReLU" not in layer for layer in net)


def test_lenet_layer_by_layer():
    """Start and centre too; as modules, as nodes, with and without the input's size."""
    found = receptive_field(LENET)
    assert [layer.size for layer in found.layers] == [5, 6, 14, 16]
    assert [layer.stride for layer in found.layers] == [1, 2, 2, 4]
    assert (found.start, found.centre) == (0, 7.5)
    nn = torch.nn
    module = nn.Sequential(
        nn.Conv2d(3, 6, 5), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.MaxPool2d(2)
    )
    assert receptive_field(module).axes == receptive_field(module, "3x32x32").axes == found.axes
    nodes = [Node(label.parse("conv2d x[3,9,9] w[6,3,5,3] p2"), (-1,), "first")]
    odd = receptive_field(nodes)
    assert (odd.size, odd.stride, odd.start) == ((5, 3), 1, -2)
    assert odd.line == "5x3, stride 1"


def test_a_model_with_a_forward_of_its_own():
    """LeNet by its name: the field is that before the flattening; functional pooling counts."""
    found = receptive_field("lenet", "3x32x32")
    assert (found.size, found.stride, found.name) == (16, 4, "max_pool2d 2")
    assert found.text.splitlines() == [
        "receptive field 16, stride 4, behind max_pool2d 2; output 0 starts at 0, centre 7.5",
        "  conv2d 3->6 k5   5, stride 1",
        "  max_pool2d 2     6, stride 2",
        "  conv2d 6->16 k5  14, stride 2",
        "  max_pool2d 2     16, stride 4",
        "  view             the whole input",
    ]
    assert macs("lenet", "3x32x32") == 651_720
    norms = [f"nn.BatchNorm2d({n})" for n in (64, 128, 128, 256, 256, 512, 512)]
    assert params("netd") - params(norms) == 25_996_993
    with pytest.raises(ShapeError, match=r"LeNet stops in forward.*560 = 16"):
        receptive_field("lenet", "3x33x40")
    with pytest.raises(UsageError, match="'lenett' is no net of refconv's; did you mean lenet"):
        params("lenett")


def test_a_generator_has_a_fraction_for_a_stride():
    """Transposed convolutions: the next output's field starts a quarter of a cell on."""
    found = receptive_field(["nn.ConvTranspose2d(8,4,4,2,1)", "nn.ConvTranspose2d(4,3,4,2,1)"])
    assert (found.size, found.stride) == (3, Fraction(1, 4))
    assert [found.axes[0].window(o) for o in range(5)] == [
        (-1, 0),
        (-1, 1),
        (-1, 1),
        (0, 1),
        (0, 1),
    ]
    assert json.loads(found.to_json())["axes"][0]["stride"] == "1/4"
    assert receptive_field(["nn.ConvTranspose1d(1,1,2,2)", "nn.Conv1d(1,1,2,2)"]).stride == 1


def test_what_sees_everything_nothing_or_cannot_be_followed():
    """Linear layers, constants, other inputs, strides that do not meet, unknown ops."""
    wide = (Axis.of("conv", 9, kernel=3),)
    halved = (Axis.of("conv", 9, kernel=3, stride=2),)
    found = fields(
        [
            Node(wide, (-1,)),
            Node("global", (0,)),
            Node("pointwise", (-2,)),
            Node("pointwise", (0, 2)),
            Node(halved, (-1,)),
            Node("pointwise", (0, 4), "add"),
            Node("unknown", (0,), "mystery"),
            Node("pointwise", (6, 1)),
            Node((Axis.of("conv", 9, kernel=9, stride=9),), (-1,)),
            Node("pointwise", (0, 8)),  # one cell, broadcast
            Node((*wide, *wide), (0,)),
            Node((Axis("given", 4, 7),), (-1,)),
            Node("unknown", (2,)),
            Node("pointwise", (-1,)),
        ]
    )
    lines = [field.line for field in found]
    assert lines[:5] == [
        "3, stride 1", "the whole input", "nothing of the input", "3, stride 1", "3, stride 2",
    ]  # fmt: skip
    assert lines[5] == "not known: branches of strides 1 and 2 meet"
    assert lines[6] == lines[7] == "not known: what mystery reads is not known"
    assert lines[9] == "the whole input"
    assert lines[10] == "not known: an op over 2 axes behind one over 1"
    assert lines[11] == "not known: 4 cells become 7 in no regular steps"
    assert lines[12:] == ["nothing of the input", "1, stride 1"]
    assert found[1].size is None
    assert found[5].as_dict()["axes"] is None
    assert fields([Node(wide, (-2,))], source=1)[0].size == 3


def test_holes_are_seen_and_gaps_are_not():
    """A dilated transposed convolution leaves outputs that see nothing."""
    (field,) = receptive_field("nn.ConvTranspose1d(1,1,2,2,dilation=2)").axes
    assert field.hulls == ((-1, 0), None)
    assert (field.size, field.window(3), field.window(4)) == (2, None, (1, 2))
    assert Field().size == Field().stride == 1


def test_sizes_are_asked_for_only_where_they_matter():
    """Adaptive pooling to one cell sees all; to more it depends on the size."""
    pooled = receptive_field(["nn.Conv2d(3,3,3)", "nn.AdaptiveAvgPool2d(1)"])
    assert [layer.whole for layer in pooled.layers] == [False, True]
    assert pooled.text.startswith("receptive field 3, stride 1, behind nn.Conv2d(3,3,3); output 0")
    assert receptive_field("nn.Flatten()").whole
    with pytest.raises(UsageError, match="its windows depend on the input's size: give in_shape"):
        receptive_field("nn.AdaptiveAvgPool2d(7)")
    assert receptive_field("nn.AdaptiveAvgPool2d(7)", "3x14x14").size == 2
    with pytest.raises(UsageError, match="needs a layer at least"):
        receptive_field([])
