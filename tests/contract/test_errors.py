"""One row a message: op, rule, numbers, shapes and fix are in it, and torch refuses too."""

from __future__ import annotations

import re
from contextlib import suppress

import numpy as np
import pytest
import torch
import torch.nn.functional as T
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

import refconv.functional as F
from refconv import autograd, normalize, problems
from refconv.errors import (
    ArgumentError,
    DtypeError,
    IndexRangeError,
    RefconvError,
    ShapeError,
    UnavailableError,
    UnsupportedError,
    UsageError,
)  # fmt: skip
from refconv.moves import IndexProblem
from refconv.oracle.check import drawn

Z = torch.zeros
X, W = Z(2, 8, 16, 16), Z(4, 8, 3, 3)
TW = Z(8, 4, 3, 3)  # of a transposed convolution
LINE = Z(2, 8, 16)
INDEX = Z(2, 8, 16, 16, dtype=torch.int64)

#: op, arguments, error, message
ROWS = [
    # ranks and shapes of convolution
    ("conv2d", (Z(1, 2, 3, 4, 5), W), ShapeError,
     "conv2d: expected a 3-D (unbatched) or 4-D (batched) input, got 5-D: conv3d takes it "
     "(input (1, 2, 3, 4, 5))"),
    ("conv3d", (X, W), ShapeError, "conv3d: expected a 5-D weight, got 4-D: conv2d takes it"),
    ("conv1d", (X, Z(4, 8, 3)), ShapeError, "got 4-D: conv2d takes it"),
    ("conv2d", (Z(3, 3), W), ShapeError, "conv2d: expected a 3-D (unbatched) or 4-D"),
    ("conv2d", (X, Z(4, 8, 3)), ShapeError, "expected a 4-D weight, got 3-D: conv1d takes it"),
    ("conv2d", (Z(2, 8, 0, 16), W), ShapeError,
     "conv2d: only the batch may be empty, got input (2, 8, 0, 16)"),
    ("conv2d", (X, Z(4, 8, 3, 0)), ShapeError,
     "conv2d: the weight may not be empty, got (4, 8, 3, 0)"),
    ("conv2d", (X, Z(4, 3, 3, 3)), ShapeError,
     "conv2d: with groups=1 the weight's axis 1 must be input channels / groups = 8, got 3 "
     "(input (2, 8, 16, 16), weight (4, 3, 3, 3))"),
    ("conv2d", (X, Z(4, 3, 3, 3), None, 1, 0, 1, 3), ShapeError,
     "conv2d: groups must divide input channels, but 3 does not divide 8 "
     "(input (2, 8, 16, 16), weight (4, 3, 3, 3))"),
    ("conv2d", (X, Z(5, 4, 3, 3), None, 1, 0, 1, 2), ShapeError,
     "conv2d: groups must divide output channels, but 2 does not divide 5"),
    ("conv2d", (X, W, None, 1, 0, 1, 0), ShapeError, "conv2d: groups must be at least 1, got (0,)"),
    ("conv2d", (X, W, Z(5)), ShapeError,
     "conv2d: bias must have one number per output channel, shape (4,) "
     "(input (2, 8, 16, 16), weight (4, 8, 3, 3), bias (5,))"),
    ("conv2d", (X, W, Z(4, 1)), ShapeError, "one number per output channel"),
    ("conv2d", (X, W, None, 0), ShapeError, "conv2d: stride must be at least 1, got (0, 0)"),
    ("conv2d", (X, W, None, 1, -1), ShapeError, "conv2d: padding must be at least 0"),
    ("conv2d", (X, W, None, 1, 0, 0), ShapeError, "conv2d: dilation must be at least 1"),
    ("conv2d", (X, W, None, (1, 2, 3)), ShapeError,
     "conv2d: stride must be one int or 2, one per axis, got 3: (1, 2, 3)"),
    ("conv2d", (Z(1, 8, 2, 9), W, None, 1, 0, (3, 1)), ShapeError,
     "conv2d: the kernel is larger than the padded input on axis H: extent 3*(3-1)+1 = 7, input "
     "2+0+0 = 2 (input (1, 8, 2, 9), weight (4, 8, 3, 3))"),
    ("conv2d", (X, W, None, 2, "same"), ShapeError,
     "conv2d: padding='same' needs stride 1, got stride (2, 2)"),
    ("conv2d", (X, W, None, 1, "full"), ShapeError,
     "conv2d: padding must be ints, 'same' or 'valid', got 'full'"),
    # types
    ("conv2d", (X, W, None, 1.0), ArgumentError, "conv2d: stride must be an int, got float 1.0"),
    ("conv2d", (X, W, None, (1, 2.5)), ArgumentError, "stride must be an int, got float 2.5"),
    ("conv2d", (X, W, None, 1, 0.5), ArgumentError, "padding must be an int, got float 0.5"),
    ("conv2d", (X, W, None, 1, 0, None), ArgumentError, "dilation must be an int, got NoneType"),
    ("conv2d", (X, W, None, 1, 0, 1, 2.0), ArgumentError, "groups must be an int, got float 2.0"),
    ("conv2d", (X, W.double()), ArgumentError,
     "conv2d: input is float32 but weight is float64; convert one of them first"),
    ("conv2d", (X, W, Z(4).double()), ArgumentError, "input is float32 but bias is float64"),
    ("conv2d", (X, W.numpy()), ArgumentError,
     "conv2d: input is a torch array but weight is a numpy array; convert one of them"),
    ("conv2d", ([[1.0]], W), ArgumentError,
     "conv2d: input must be a torch tensor or a NumPy array, got builtins.list"),
    ("conv2d", (X.bool(), W.bool()), DtypeError,
     "conv2d: not defined for bool, in torch on the CPU neither; it takes float64, float32"),
    ("conv2d", (X.int(), W.int(), None, 1, 0, 2), DtypeError,
     "conv2d: dilation is not defined for int32, in torch on the CPU neither; convert to int64"),
    ("conv_transpose2d", (X.int(), TW.int()), DtypeError, "not defined for int32"),
    # transposed convolution
    ("conv_transpose2d", (X, Z(7, 4, 3, 3)), ShapeError,
     "conv_transpose2d: the weight's axis 0 must be input channels = 8, got 7"),
    ("conv_transpose2d", (X, TW, None, 1, 0, 0, 3), ShapeError,
     "conv_transpose2d: groups must divide input channels, but 3 does not divide 8"),
    ("conv_transpose2d", (X, TW, Z(3)), ShapeError, "one number per output channel, shape (4,)"),
    ("conv_transpose2d", (X, TW, None, 2, 0, 2), ShapeError,
     "conv_transpose2d: output_padding must be smaller than stride or dilation, but on axis H it "
     "is 2 with stride 2 and dilation 1"),
    ("conv_transpose2d", (X, TW, None, 2, 0, -1), ShapeError,
     "conv_transpose2d: output_padding must be at least 0"),
    ("conv_transpose2d", (Z(1, 8, 1, 1), TW, None, 1, 2), ShapeError,
     "conv_transpose2d: nothing is left of the output on axis H: (1-1)*1 - 2*2 + 1*(3-1) + 0 + 1 "
     "= -1"),
    ("conv_transpose2d", (X, TW, None, 1, "same"), ArgumentError,
     "conv_transpose2d: padding must be an int, got str 'same'"),
    # pooling
    ("max_pool2d", (X, 0), ShapeError, "max_pool2d: kernel_size must be at least 1, got (0, 0)"),
    ("max_pool2d", (X, 2, 0), ShapeError, "max_pool2d: stride must be at least 1"),
    ("max_pool2d", (X, 2, 1, -1), ShapeError, "max_pool2d: padding must be at least 0"),
    ("max_pool2d", (X, (3, 2), 1, (1, 2)), ShapeError,
     "max_pool2d: padding may be at most half of the kernel, but on axis W it is 2 with kernel 2 "
     "(input (2, 8, 16, 16))"),
    ("max_pool2d", (X, 2, 1, 0, 0), ShapeError, "max_pool2d: dilation must be at least 1"),
    ("max_pool2d", (X, 17), ShapeError,
     "max_pool2d: the window is larger than the padded input on axis H: extent 17, input 16+2*0 "
     "= 16"),
    ("max_pool2d", (Z(2, 8, 3, 4, 5), 2), ShapeError, "got 5-D: max_pool3d takes it"),
    ("max_pool2d", (X.bool(), 2), DtypeError, "max_pool2d: not defined for bool"),
    ("max_pool1d", (Z(2, 0, 5), 2), ShapeError, "max_pool1d: only the batch may be empty"),
    ("avg_pool2d", (X, 2, None, 0, False, True, 0), ShapeError,
     "avg_pool2d: divisor_override must not be 0"),
    ("avg_pool2d", (X.int(), 2), DtypeError, "avg_pool2d: not defined for int32"),
    ("avg_pool3d", (Z(1, 1, 3, 3, 3), (3, 3, 4), 1, (0, 0, 1)), ShapeError,
     "avg_pool3d: the kernel is larger than the input on axis W, which in 3-D padding does not "
     "make good: kernel 4, input 3"),
    ("adaptive_avg_pool2d", (X, None), ArgumentError, "output_size must be an int, got NoneType"),
    ("unfold", (X, (3,)), ShapeError,
     "unfold: kernel_size must be one int or 2, one per axis, got 1: (3,)"),
    ("max_unpool2d", (X, INDEX, (2,)), ShapeError,
     "max_unpool2d: kernel_size must be one int or 2, one per axis, got 1: (2,)"),
    ("pad", (Z(1, 2, 2), (3, -3)), ShapeError,
     "pad: what cropping leaves of every axis must be at least 0, got (1, 2, -1)"),
    ("lp_pool1d", (LINE, 2, (3,)), ArgumentError, "lp_pool1d: kernel_size must be an int"),
    ("adaptive_avg_pool2d", (X, (1, 2, 3)), ShapeError,
     "adaptive_avg_pool2d: output_size must be one int or 2, got 3: (1, 2, 3)"),
    ("adaptive_avg_pool2d", (X, -1), ShapeError, "output_size must be at least 0, got (-1, -1)"),
    ("adaptive_avg_pool2d", (X, 2.0), ArgumentError, "output_size must be an int, got float"),
    ("adaptive_avg_pool2d", (X.cfloat(), 2), DtypeError,
     "adaptive_avg_pool2d: complex input is defined only for a mean over everything"),
    ("adaptive_max_pool1d", (LINE, None), ArgumentError,
     "adaptive_max_pool1d: output_size must be an int, got NoneType None"),
    ("adaptive_max_pool2d", (X.long(), 2), DtypeError, "not defined for int64"),
    # unpooling
    ("max_unpool2d", (X, INDEX[:1], 2), ShapeError,
     "max_unpool2d: indices must have the input's shape (input (2, 8, 16, 16), indices "
     "(1, 8, 16, 16))"),
    ("max_unpool2d", (X, INDEX.int(), 2), ArgumentError,
     "max_unpool2d: indices must be int64, got int32"),
    ("max_unpool2d", (X, INDEX - 1, 2), IndexRangeError,
     "max_unpool2d: index -1 is outside the output (32, 32), which has 1024 cells a channel"),
    ("max_unpool2d", (X, INDEX + 1024, 2), IndexRangeError, "index 1024 is outside the output"),
    ("max_unpool2d", (X, INDEX, 2, None, 0, (34, 32)), ShapeError,
     "max_unpool2d: output_size must be between 31 and 33 on axis H, got (34, 32)"),
    ("max_unpool2d", (X, INDEX, 2, None, 0, (33,)), ShapeError,
     "output_size must have 2 or 4 sizes, got (33,)"),
    ("max_unpool3d", (Z(1, 1, 1, 2, 2), Z(1, 1, 1, 2, 2).long(), 2, 0), ShapeError,
     "max_unpool3d: stride must be at least 1"),
    # columns
    ("unfold", (X, 17), ShapeError,
     "unfold: no window fits: image (16, 16), kernel (17, 17), dilation (1, 1), padding (0, 0), "
     "stride (1, 1) give (0, 0) positions"),
    ("unfold", (LINE[0], 2), ShapeError, "unfold: expected a 3-D (unbatched) or 4-D (batched)"),
    ("unfold", (X.int(), 2), DtypeError, "unfold: not defined for int32"),
    ("fold", (Z(2, 9, 4), (3, 3), 2), ShapeError,
     "fold: the channel axis must be a multiple of the kernel's 4 cells, got 9"),
    ("fold", (Z(2, 8, 5), (3, 3), 2), ShapeError,
     "fold: image (3, 3) with kernel (2, 2) has 2*2 = 4 window positions, but the columns' last "
     "axis is 5"),
    ("fold", (X, (3, 3), 2), ShapeError, "fold: expected 2-D (unbatched) or 3-D (batched) columns"),
    ("fold", (Z(2, 8, 0), (3, 3), 2), ShapeError, "fold: only the batch may be empty"),
    ("fold", (Z(2, 8, 4), (2, 2), 2, 4), ShapeError, "fold: no window fits"),
    # padding
    ("pad", (X, (1,)), ShapeError, "pad: pad needs two numbers an axis, low and high, got 1"),
    ("pad", (X, (1,) * 10), ShapeError, "pad: pad names 5 axes, but the input has 4"),
    ("pad", (X, 1), ArgumentError, "pad: pad must be a sequence of ints, got int 1"),
    ("pad", (X, (1, 1.5)), ArgumentError, "pad: pad must be an int, got float 1.5"),
    ("pad", (X, (-9, -9)), ShapeError, "pad: every size of the output must be at least 0"),
    ("pad", (X, (1, 1), "wrap"), ShapeError, "mode must be constant, reflect, replicate or circ"),
    ("pad", (X.to(torch.uint8), (1, 1), "constant", -1.0), ShapeError,
     "pad: value -1.0 does not fit uint8, 0 to 255"),
    ("pad", (X.cfloat(), (1, 1), "constant", 1 + 2j), ArgumentError,
     "pad: value must be a real number, got (1+2j)"),
    ("pad", (X.long(), (1, 1), "constant", float("nan")), ShapeError, "does not fit int64"),
    ("pad", (X.half(), (1, 1), "constant", 1e5), ShapeError, "does not fit float16"),
    ("pad", (LINE, (16, 0), "reflect"), ShapeError,
     "pad: mode reflect can add at most 15 cells to an axis of 16"),
    ("pad", (LINE, (17, 0), "circular"), ShapeError,
     "pad: mode circular can add at most 16 cells to an axis of 16"),
    ("pad", (LINE, (1, 1), "reflect", 3.0), ShapeError, "pad: mode reflect takes no value"),
    ("pad", (X, (1, 1), "reflect"), ShapeError, "mode reflect pads the last 1, 2 or 3 axes"),
    ("pad", (LINE.bool(), (1, 1), "reflect"), DtypeError, "mode reflect is not defined for bool"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("op", "args", "error", "message"), ROWS, ids=[f"{i}-{row[0]}" for i, row in enumerate(ROWS)]
)
def test_message(op, args, error, message) -> None:
    with pytest.raises(error, match=re.escape(message)) as raised:
        getattr(F, op)(*args)
    assert str(raised.value).startswith(f"{op}: ")
    assert "\n" not in str(raised.value)
    with pytest.raises(Exception):  # noqa: B017, PT011 - any refusal of torch's
        getattr(T, op)(*args)


@pytest.mark.parametrize("op", ["conv2d", "max_pool2d"])
def test_numpy_arguments_are_checked_by_the_same_rules(op: str) -> None:
    x, w = np.zeros((2, 8, 3, 16, 16)), np.zeros((4, 8, 3, 3))
    with pytest.raises(ShapeError, match="3d takes it"):
        getattr(F, op)(x, w if op == "conv2d" else 2)
    with pytest.raises(ArgumentError, match="numpy array but weight is a torch"):
        F.conv2d(x[:, :, 0], torch.from_numpy(w))


def test_meta_inputs_are_refused_alike() -> None:
    for op, args, error, message in ROWS:
        if error not in (ShapeError, DtypeError) or not isinstance(args[0], torch.Tensor):
            continue
        meta = [a.to("meta") if isinstance(a, torch.Tensor) else a for a in args]
        with pytest.raises(error, match=re.escape(message)):
            getattr(F, op)(*meta)


@pytest.mark.parametrize(
    ("backend", "error", "message"),
    [
        ("fast", UsageError, "unknown backend 'fast'; there are: auto,"),
        ("naive:winograd", UnsupportedError, "naive has no algorithm 'winograd' for conv_fprop"),
        ("auto:loops", UsageError, "name the backend of algorithm 'loops'"),
        ("cupy", UnavailableError, "backend cupy is not available: "),
    ],
)
def test_backends(backend: str, error: type[Exception], message: str) -> None:
    if backend == "cupy" and torch.cuda.is_available():
        pytest.skip("CuPy may be usable here")
    with pytest.raises(error, match=re.escape(message)):
        F.conv2d(X, W, backend=backend)


def test_gradients_of_another_shape_are_refused() -> None:
    """What only a caller of the operators can get wrong, or a label."""
    operator = autograd.OPERATORS["conv_wgrad"]
    with pytest.raises(ShapeError, match="these shapes are not those of one convolution"):
        operator.run(Z(2, 4, 14, 14), Z(3, 8, 16, 16), (3, 3), (1, 1), (0, 0, 0, 0), (1, 1), 1, "")
    shapes = (1, 4, 5, 5), (4, 3, 3, 3), None, "float32"
    with pytest.raises(ShapeError, match="padding must be the same on both sides"):
        normalize.conv_transpose("conv_transpose2d", *shapes, padding=((1, 2), (0, 0)))
    for columns in (Z(12), Z(1, 1, 12, 25)):
        with pytest.raises(ShapeError, match="or 3-D \\(batched\\) columns, got"):
            F.fold(columns, 6, 2)
        with pytest.raises(RuntimeError, match="Expected 2D or 3D"):
            T.fold(columns, 6, 2)


def test_devices_are_not_mixed() -> None:
    """torch takes this one, and returns an empty promise on meta."""
    with pytest.raises(
        ArgumentError, match="input is on cpu but weight is on meta; move one of them"
    ):
        F.conv2d(X, W.to("meta"))


def test_gradient_operators_refuse_foreign_shapes() -> None:
    from refconv import autograd

    args = ("avg_pool2d", (2, 2), (2, 2), (0, 0), (1, 1), False, True, None, (), "im2col")
    with pytest.raises(ShapeError, match=r"the output's gradient must have shape \(2, 8, 8, 8\)"):
        autograd.call("avg_pool_backward", Z(2, 7, 8, 8), X.shape, *args)
    with pytest.raises(ShapeError, match="not those of one convolution"):
        autograd.call(
            "conv_dgrad", Z(2, 5, 14, 14), W, (16, 16), (1, 1), (0,) * 4, (1, 1), 1, "im2col"
        )


# --- torch refuses if and only if refconv does

small = st.integers(-1, 4)
pairs = st.one_of(small, st.tuples(small, small), st.tuples(small), st.tuples(small, small, small))
sizes = st.lists(st.integers(0, 5), min_size=2, max_size=5).map(tuple)
channels = st.sampled_from([0, 1, 2, 3, 4])


def shapes(rank: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes, mostly of the rank that fits."""
    fits = st.tuples(st.integers(0, 2), channels, *[st.integers(0, 5)] * rank)
    return st.one_of(fits, fits, fits.map(lambda s: s[1:]), sizes)


@st.composite
def wild(draw) -> tuple:
    """An op and arguments that may or may not make sense."""
    op = draw(st.sampled_from(drawn.OP_NAMES))
    rank = int(op[-2]) if op[-1] == "d" and op[-2].isdigit() else 2
    x = draw(shapes(rank))
    if op.startswith("conv"):
        c = x[-rank - 1] if len(x) > rank else 1
        w = draw(
            st.one_of(st.tuples(st.just(c), st.just(c), *[st.integers(0, 3)] * rank), shapes(rank))
        )
        bias = draw(st.one_of(st.none(), st.tuples(channels)))
        stride, padding, dilation = draw(pairs), draw(pairs), draw(pairs)
        groups = draw(st.integers(0, 3))
        if op.startswith("conv_t"):
            return op, [x, w, bias], (stride, padding, draw(pairs), groups, dilation)
        return op, [x, w, bias], (stride, padding, dilation, groups)
    if op.startswith("adaptive"):
        return op, [x], (draw(st.one_of(pairs, st.tuples(small, st.none()), st.none())),)
    if op == "pad":
        pad = draw(st.lists(st.integers(-4, 5), max_size=8).map(tuple))
        return (
            op,
            [x],
            (pad, draw(st.sampled_from(["constant", "reflect", "replicate", "circular"]))),
        )
    if op == "unfold":
        return op, [x], (draw(pairs), draw(pairs), draw(pairs), draw(pairs))
    if op == "fold":
        x = draw(st.tuples(st.integers(0, 2), st.sampled_from([0, 4, 6, 8]), st.integers(0, 9)))
        return op, [x], (draw(pairs), draw(pairs), draw(pairs), draw(pairs), draw(pairs))
    if op.startswith("max_unpool"):
        return op, [x, x], (draw(pairs), draw(st.one_of(st.none(), pairs)), draw(pairs))
    if op.startswith("lp"):
        return (
            op,
            [x],
            (draw(st.sampled_from([1, 2, 2.5])), draw(pairs), draw(pairs), draw(st.booleans())),
        )
    rest = (draw(pairs),) if op.startswith("max") else ()
    return op, [x], (draw(pairs), draw(st.one_of(st.none(), pairs)), draw(pairs), *rest)


def excused(op: str, shapes: list, args: tuple) -> bool:
    """Where the two differ on purpose, because torch looks at nothing but an empty array."""
    x = shapes[0]
    rank = int(op[-2]) if op[-2].isdigit() else 2
    if op.startswith("conv"):  # torch's answer has no channels either, or lost its batch
        if op.startswith("conv_t") and set(args[4] if isinstance(args[4], tuple) else args[4:]) & {
            0
        }:
            return True  # oneDNN takes a dilation of 0 where the kernel has one tap
        return 0 in x[: max(len(x) - rank, 1)] or 0 in shapes[1]
    if op.startswith("adaptive_avg"):  # to one cell, torch takes the mean of any rank
        return set(args[0] if isinstance(args[0], tuple) else args) <= {1, None}
    if op.startswith("max_unpool"):  # torch reads the first numbers of a tuple that is too long,
        if any(isinstance(a, tuple) and len(a) > rank for a in args):
            return True
        stride = args[0] if args[1] is None else args[1]  # and drops what an empty output loses
        k, s, p = (a if isinstance(a, tuple) else (a,) * rank for a in (args[0], stride, args[2]))
        return any(
            (n - 1) * b + a - 2 * c < 1 for n, a, b, c in zip(x[-rank:], k, s, p, strict=False)
        )
    if (
        op == "pad" and args[1] == "circular"
    ):  # torch fills what cropping left nothing for with junk
        return min(args[0], default=0) < 0
    return False


@settings(max_examples=20 * settings.default.max_examples)
@given(wild())
def test_torch_refuses_if_and_only_if_refconv_does(problem: tuple) -> None:
    check_refusal(*problem)


def check_refusal(op: str, given_shapes: list, args: tuple) -> None:
    """Both take it, with one shape, or both refuse it."""
    arrays = [None if s is None else Z(s) for s in given_shapes]
    if op.startswith("max_unpool"):
        arrays[1] = arrays[1].long()
    ours = theirs = refusal = None
    try:
        ours = getattr(F, op)(*arrays, *args, backend="im2col")
    except RefconvError as error:  # nothing else may escape
        refusal = str(error)
    with suppress(Exception):
        theirs = getattr(T, op)(*arrays, *args)
    if excused(op, given_shapes, args):
        return
    assert ours is not None or theirs is None, f"only refconv refuses: {refusal}"
    assert ours is None or theirs is not None, "only torch refuses"
    if ours is not None:
        assert ours.shape == theirs.shape


def test_unpooling_says_that_it_cannot_be_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a CUDA graph: it looks at its indices on the CPU."""
    problem = IndexProblem("max_unpool2d", (1, 2), (3, 3), (6, 6), "float32")
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with FakeTensorMode():
        x, index = (torch.empty(1, 2, 3, 3, device="cuda", dtype=d) for d in (None, torch.int64))
        with pytest.raises(UnsupportedError, match="max_unpool2d: the CPU looks at its indices"):
            problems.check_indices(problem, x, index)
