"""Labels go round exactly, and nothing that a user may write ends in a traceback."""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refconv import label, normalize, normalize_pool
from refconv.errors import ArgumentError, DtypeError, RefconvError, ShapeError, UsageError
from refconv.notation import build
from refconv.ops import OPS

FLOATS = st.sampled_from(["float32", "float64", "float16", "bfloat16"])


def axes(rank, low, high):
    return st.tuples(*[st.integers(low, high)] * rank)


@st.composite
def problems(draw):
    """A problem of any op, built as a user's call is; None where normalisation refuses."""
    op = draw(st.sampled_from(sorted(OPS)))
    kind, rank = OPS[op].kind, OPS[op].rank or draw(st.integers(1, 3))
    lead = draw(st.sampled_from([(), (1,), (2,), (0,)]))
    dtype, size = draw(FLOATS), draw(axes(rank, 1, 9))
    kernel, stride, dilation = (draw(axes(rank, 1, most)) for most in (4, 3, 3))
    padding = draw(axes(rank, 0, 3))
    groups = draw(st.integers(1, 3))
    channels, filters = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    x = (*lead, channels, *size)
    steps = {"stride": stride, "dilation": dilation}
    bias = (filters,) if draw(st.booleans()) else None
    flags = {"ceil_mode": draw(st.booleans()), "count_include_pad": draw(st.booleans())}
    extra = draw(axes(rank, 0, 3))
    tensors = {"input": x}
    arguments = {"kernel_size": kernel, "stride": draw(st.sampled_from([None, stride]))}
    if kind == "conv":
        sides = tuple(zip(padding, draw(axes(rank, -1, 3)), strict=True))
        arguments = {**steps, "groups": groups, "padding": draw(st.sampled_from([padding, sides]))}
        tensors |= {"weight": (filters, channels // groups, *kernel), "bias": bias}
    elif kind == "conv_transpose":
        arguments = {**steps, "groups": groups, "padding": padding, "output_padding": extra}
        tensors |= {"weight": (channels, filters // groups, *kernel), "bias": bias}
    elif kind == "max_pool":
        arguments |= {"padding": padding, "dilation": dilation, "ceil_mode": flags["ceil_mode"]}
    elif kind == "avg_pool":
        divisor = None if rank == 1 else draw(st.sampled_from([None, 3, -2]))
        arguments |= {**flags, "padding": padding, "divisor_override": divisor}
    elif kind == "lp_pool":
        norm = draw(st.sampled_from([1, 2, 0.5, 3.25, 1e20, float("inf")]))
        arguments |= {"norm_type": norm, "ceil_mode": flags["ceil_mode"]}
    elif kind.startswith("adaptive"):
        arguments = {"output_size": draw(axes(rank, 0, 9))}
    elif kind == "max_unpool":
        arguments |= {"padding": padding}
    elif kind in ("unfold", "fold"):
        arguments = {**steps, "kernel_size": kernel, "padding": padding}
        if kind == "fold":
            unfolded = attempt("unfold", tensors, arguments, dtype)
            if unfolded is None:
                return None
            tensors, arguments = (
                {"input": unfolded.output_shape},
                {**arguments, "output_size": size},
            )
    else:
        mode = draw(st.sampled_from(["constant", "reflect", "replicate", "circular"]))
        count = draw(st.integers(0, len(x)))
        pads = draw(st.lists(st.integers(-2, 4), min_size=2 * count, max_size=2 * count))
        value = draw(st.sampled_from([None, 0, 1.5, -2, 1e-30])) if mode == "constant" else None
        arguments = {"pad": pads, "mode": mode, "value": value}
    return attempt(op, tensors, arguments, dtype)


def attempt(op, tensors, arguments, dtype):
    try:
        return build(op, tensors, arguments, dtype)
    except RefconvError:
        return None


@settings(max_examples=1500, deadline=None)
@given(problem=problems())
def test_a_label_goes_round(problem):
    if problem is None:
        return
    text = label.format(problem)
    assert label.parse(text) == problem
    assert label.read(text) == problem
    assert label.format(label.parse(text)) == text
    assert "\n" not in text


@given(
    x=axes(2, 1, 9),
    y=axes(2, 1, 9),
    kernel=axes(2, 1, 3),
    stride=axes(2, 1, 3),
    pads=axes(2, 0, 2),
    groups=st.integers(1, 2),
    lead=st.sampled_from([(), (2,)]),
)
def test_a_derivatives_geometry_goes_round(x, y, kernel, stride, pads, groups, lead):
    sides = tuple((p, p) for p in pads)
    problem = normalize.geometry(
        2, (*lead, 4, *x), (2, 4 // groups, *kernel), (*lead, 2, *y), "float64", stride, sides,
        (1, 2), groups,
    )  # fmt: skip
    assert label.parse(label.format(problem)) == problem


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("conv2d x[1,6,14,14] w[16,6,5,5] b s2 p1 d1 g1 float32", None),
        ("conv2d  x[ 1, 6,14 ,14 ]  s=2,2 w[16,6,5,5] b p=1", None),
        ("conv2d x[1,6,14,14] w[16,6,5,5] b s2 p1:1", None),
        ("conv2d x[1,3,8,8] w[4,3,4,4] p=same", "conv2d x[1,3,8,8] w[4,3,4,4] p1:2"),
        ("conv2d x[1,3,8,8] w[4,3,3,3] p=valid", "conv2d x[1,3,8,8] w[4,3,3,3]"),
        ("conv2d x[3,8,8] w[4,3,3,3] p1:2,0:1 float64", "="),
        ("conv2d x[3,8,8] w[4,3,3,3] p0:1", "="),
        ("conv_transpose2d x[1,4,5,5] w[4,3,3,3] b s2 p1 op1 g2", "="),
        ("max_pool2d x[1,2,8,8] k2 s2", "max_pool2d x[1,2,8,8] k2"),
        ("max_pool2d x[1,2,8,8] k2,3 s1 p1 d2,1 ceil", "="),
        ("avg_pool2d x[1,2,8,8] k3 s1 p1 ceil exclude_pad div4", "="),
        ("lp_pool1d x[2,8] norm2.5 k3", "="),
        ("adaptive_max_pool3d x[2,4,5,6] o1,2,3 bfloat16", "="),
        ("max_unpool2d x[1,2,3,3] k2", "max_unpool2d x[1,2,3,3] o6"),
        ("max_unpool2d x[1,2,3,3] k2 s2 o7", "max_unpool2d x[1,2,3,3] o7"),
        ("unfold x[1,2,5,5] k3 d2 bool", "="),
        ("fold x[1,18,9] o5 k3", "="),
        ("pad x[1,2,4,5] p1,2:0 reflect", "="),
        ("pad x[3] p1 value=1.5", "="),
        ("pad x[3] p1 value=inf", "="),
        ("pad x[3] p1 value=1.5 complex64", "="),
        ("pad x[3]", "="),
    ],
)
def test_what_a_label_may_look_like(text, canonical):
    usual = "conv2d x[1,6,14,14] w[16,6,5,5] b s2 p1"
    wanted = {None: usual, "=": text}.get(canonical, canonical)
    assert label.format(label.read(text)) == wanted


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("", UsageError, "is not an op"),
        ("conv2 x[1,3,8,8] w[4,3,3,3]", UsageError, "did you mean conv2d"),
        ("conv2d x[1,3,8,8]", UsageError, "needs w"),
        ("conv2d w[4,3,3,3]", UsageError, "needs x"),
        ("conv2d x[1,3,8,8] w[4,3,3,3] k3", UsageError, "does not take 'k3'"),
        ("conv2d x[1,3,8,8] w[4,3,3,3] float31", UsageError, "does not take 'float31'"),
        ("conv2d x[1,3,8,8] w[4,3,3,3] s1 s2", UsageError, "s is given twice"),
        ("conv2d x[1,3,8,8] w[4,3,3,3] s1:2", UsageError, "s must be an int"),
        ("conv2d x[1,3,8,8] w[4,3,3,3] s1.5", UsageError, "s must be an int"),
        ("conv2d x[1,3,8,8] w[4,3,3,3] p1:2,1:2,1:2", UsageError, "p names 3"),
        ("conv2d x[1,3,8,8] w[4,3,3,3] p-1:2", UsageError, "low padding"),
        ("conv2d x[1,3,8,8] w[4,3,3,3] y[1,4,6]", UsageError, "y must be"),
        ("conv2d x[1,3,8,8] w[4,3,3,3] y[1,5,6,6]", UsageError, "y says"),
        ("conv2d x[1,3,8,-8] w[4,3,3,3]", UsageError, "must be sizes"),
        ("conv2d x[] w[4,3,3,3]", ShapeError, "3-D .unbatched."),
        ("conv2d x[1,3,8,8] w[]", ShapeError, "4-D weight"),
        ("conv2d x[1,3,8,8] w[] b", ShapeError, "4-D weight"),
        ("conv2d x[1,3,8,8] w[4,3,3,3] p-1", ShapeError, "at least 0"),
        ("conv2d x[1,3,8,8] w[4,3,3,3] s2 p=same", ShapeError, "needs stride 1"),
        ("conv2d x[1,3,8,8] w[4,2,3,3]", ShapeError, "axis 1 must be"),
        ("conv2d x[1,3,8,8] w[4,3,3,3] g2,2", ArgumentError, "groups must be an int"),
        ("conv2d x[1,3,8,8,8] w[4,3,3,3,3]", ShapeError, "conv3d takes it"),
        ("conv2d x[1,3,2,2] w[4,3,3,3]", ShapeError, "larger than the padded input"),
        ("conv_transpose2d x[1,3,8,8] w[3,4,3,3] p1:0", UsageError, "op1 adds"),
        ("conv_transpose2d x[1,3,8,8] w[3] b", ShapeError, "4-D weight"),
        ("max_pool2d x[1,3,8,8]", UsageError, "needs k"),
        ("max_pool2d x[1,3,8,8] k2 p0:1", UsageError, "no low:high"),
        ("max_pool2d x[1,3,8,8] k2 b", UsageError, "does not take 'b'"),
        ("max_pool2d x[1,3,8,8] k2 p2", ShapeError, "at most half"),
        ("max_pool2d x[1,3,8,8] k2 complex64", DtypeError, "not defined for complex64"),
        ("avg_pool1d x[3,8] k2 div3", UsageError, "does not take 'div3'"),
        ("lp_pool1d x[3,8] k2", UsageError, "needs norm"),
        ("lp_pool1d x[3,8] k2 normx", UsageError, "norm must be a number"),
        ("adaptive_avg_pool2d x[1,3,8,8] o1,2,3", ShapeError, "one int or 2"),
        ("max_unpool2d x[1,2,3,3]", UsageError, "needs its output size"),
        ("max_unpool2d x[1,2,3,3] o6 s2", UsageError, "or its window"),
        ("max_unpool2d x[1,2,3,3] k2 o9", ShapeError, "must be between"),
        ("max_unpool2d x[3] o9", ShapeError, "expected a 3-D"),
        ("max_unpool2d x[1,2,3,3] o9,9,9", ShapeError, "2 or 4 sizes"),
        ("fold x[1,18,9] k3", UsageError, "needs o"),
        ("pad x[3] p=same", UsageError, "pad needs numbers"),
        ("pad x[1,2,3] p1 reflect circular", UsageError, "exclude each other"),
        ("pad x[1,2,3] p1 value=print", UsageError, "value must be a number"),
        ("conv2d x[1,3,8,8] w[4,3,3,3] s" + "9" * 5000, UsageError, "must be an int"),
    ],
)
def test_what_is_wrong_with_a_label(text, kind, says):
    with pytest.raises(kind, match=says):
        label.parse(text)


def test_the_inputs_shape_is_said_once():
    assert label.read("nn.MaxPool2d(2)", in_shape=" [6, 28, 28] ").lead == (6,)
    assert label.read("max_pool2d x[6,8,8] k2", in_shape="6x8x8").out_size == (4, 4)
    for text in (
        "max_pool2d x[6,8,8] k2",
        "F.max_pool2d(x[6,8,8], 2)",
        "nn.MaxPool2d(2)(x[6,8,8])",
    ):
        with pytest.raises(UsageError, match=r"shape|another"):
            label.read(text, in_shape=(6, 9, 9))
    for wrong in ("6x", "axb", "", (1, "a")):
        with pytest.raises(UsageError, match="must be sizes"):
            label.read("nn.MaxPool2d(2)", in_shape=wrong)


def test_dtypes():
    assert label.read("nn.Conv2d(3,4,3)", in_shape="3x8x8", dtype="float64").dtype == "float64"
    text = "max_pool2d x[6,8,8] k2"
    assert label.read(text, dtype="int64") == replace(label.read(text), dtype="int64")
    assert label.read(f"{text} float16", dtype="int64").dtype == "float16"
    with pytest.raises(UsageError, match="did you mean float32"):
        label.read(text, dtype="float3")


@given(st.text(max_size=60))
def test_no_text_ends_in_a_traceback(text):
    with suppress(RefconvError):
        label.read(text)


WORDS = "conv2d max_pool2d pad fold x[1,2,5,5] w[2,2,3,3] w[] y[1] b k3 k0 s2 p1:2 p-1 d0 g0 o3 op9"
WORDS += " norm2 value=x ceil div0 reflect int8 nn.Conv2d( F.pad( x[3] ) , None 3 (1,2) 'a' mb1 ic3"
WORDS += ' ih9 kh3 kh0 oc4 oh0 --conv --dt=f16 n"a" MIOpenDriver conv -n -H 0 --mode trans *k # _'


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(WORDS.split()), max_size=7), st.sampled_from(["", " "]))
def test_no_mixture_of_words_ends_in_a_traceback(words, between):
    with suppress(RefconvError):
        label.read(between.join(words), in_shape="1x2x5x5")


def test_normalisations_errors_come_through():
    with pytest.raises(ShapeError) as ours:
        label.parse("avg_pool2d x[1,2,3,3] k5")
    with pytest.raises(ShapeError) as theirs:
        normalize_pool.pool("avg_pool2d", (1, 2, 3, 3), "float32", 5)
    assert str(ours.value) == str(theirs.value)
