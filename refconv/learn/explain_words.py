"""What is the same for every layer: glossary, formulas, memory layouts, nn against F, and the
shapes of a family in one, two and three dimensions. Figures come from the code that computes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import Any

from .. import label, window
from ..errors import UsageError
from ..notation import Problem, input_shape, near
from ..problem import ConvProblem, Size
from .arithmetic import FORMULAS, Axis, line
from .count import params_line
from .explain_ops import shape_text
from .explain_show import Explanation, Grid, Part


@dataclass(frozen=True, repr=False)
class Words(Explanation):
    """A page of explanation.

    Args:
        topic: ``glossary``, ``formula``, ``layout``, ``nn-vs-f`` or ``family NAME``.
        content: lines and tables.
    """

    topic: str
    content: tuple[Part, ...]

    def parts(self, width: int = 1000) -> list[Part]:
        """The page."""
        return list(self.content)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the tables as lists of rows by heading."""
        lines = [part for part in self.content if isinstance(part, str)]
        tables = [
            [dict(zip(part.heads, row, strict=True)) for row in part.rows]
            for part in self.content
            if isinstance(part, Grid)
        ]
        made = {"kind": "words", "topic": self.topic, "lines": lines, "tables": tables}
        return made | {"error": None}


_TERMS = (
    ("kernel size", "F, k, spatial extent", "height and width of a filter; chosen by the designer, "
     "not computed: the 5 of Conv2d(3,6,5)"),
    ("filter", "kernel", "the weights that make one output channel: in_channels/groups x F x F"),
    ("number of filters", "K, out_channels", "how many output channels there are; chosen"),
    ("sub-kernel", "slice, 2-D kernel", "the F x F weights of a filter for one input channel"),
    ("channel", "feature map, depth", "one image of the input or output; RGB has 3"),
    ("stride", "S", "cells from one window to the next"),
    ("padding", "P, pad", "zeros added around the input, on each side"),
    ("valid", "no padding", "only windows that lie inside the input; the rest is left over"),
    ("same", "SAME", "padding that keeps the size (torch: stride 1), or makes it ceil(size/stride) "
     "(TensorFlow)"),
    ("dilation", "d, atrous", "distance of a filter's taps; 1 is without gaps"),
    ("effective kernel", "extent", "cells that a dilated filter spans: d*(k-1)+1"),
    ("groups", "g", "sets of channels and filters that do not meet; 1: all meet all"),
    ("depthwise", "groups = in_channels", "each filter sees one input channel"),
    ("bias", "b", "one number added to each output channel"),
    ("output_padding", "op", "which of several output sizes a transposed convolution has"),
    ("transposed conv", "deconvolution", "each input cell stamps the filter on the output; the "
     "gradient of a convolution, and not its inverse"),
    ("floor", "rounding down", "how torch rounds a size; pooling with ceil_mode rounds up"),
    ("left over", "", "cells behind the last window, which nothing reads"),
    ("receptive field", "RF", "cells of the network's input that one cell of an output can see"),
    ("cross-correlation", "convolution in torch", "the filter is not turned round, as it is in "
     "mathematics' convolution"),
    ("parameter", "params", "a number that is learnt: weights and biases"),
    ("MAC", "multiply-accumulate", "one product added to a sum"),
    ("FLOP", "floating point operation", "two a MAC: the product and the addition; many papers "
     "call a MAC a FLOP"),
    ("N", "batch", "how many samples are computed at once; the first axis"),
    ("NCHW", "channels first", "torch's order of axes: batch, channels, height, width"),
)  # fmt: skip


def glossary() -> Words:
    """Every term of the explanations."""
    grid = Grid(("term", "also called", "meaning"), _TERMS, wrap=(1, 2))
    title = "✔ F, the spatial extent, is the kernel's size: it is chosen, not computed"
    return Words("glossary", (title, grid))


def formula() -> Words:
    """The size formulas, simple and full, as torch, cs231n and d2l write them."""
    parts: list[Part] = [
        "✔ one rule in several notations; simple and full agree when dilation is 1"
    ]
    names = {"conv": "convolution", "conv_transpose": "transposed convolution", "pool": "pooling"}
    for key, name in names.items():
        rows = tuple((notation, text) for notation, text in FORMULAS[key].items())
        parts += ["", f"  {name}", Grid(("notation", "formula"), rows, wrap=(1,))]
    parts += [
        "",
        "  i, n, W1, H_in input · k, F kernel size · s, S stride · p, P padding on each side · "
        "d dilation · op output_padding",
        f"  d = 1: d*(k-1)+1 = k, e.g. 1*(5-1)+1 = {window.effective_kernel(5, 1)};"
        f" d = 2: 2*(5-1)+1 = {window.effective_kernel(5, 2)}",
    ]
    examples: list[tuple[str, ...]] = []
    for i, k, s, p in ((32, 5, 1, 0), (96, 4, 2, 1), (8, 3, 2, 0)):
        notations = Axis.of("conv", i, kernel=k, stride=s, padding=(p, p)).notations
        examples += [(f"i={i} k={k} s={s} p={p}", name, text) for name, text in notations.items()]
    return Words("formula", (*parts, "", Grid(("example", "notation", "numbers"), examples)))


def layout() -> Words:
    """[N, C, H, W] against [N, H, W, C], in shapes and in memory."""
    sizes = (2, 3, 4, 5)
    n, c, h, w = sizes
    nchw = _strides(sizes)
    nhwc = _strides((n, h, w, c))
    last = (nhwc[0], nhwc[3], nhwc[1], nhwc[2])
    rows = (
        ("torch", "[N, C, H, W]", str(list(sizes)), str(nchw), "c*H*W + h*W + w"),
        ("torch, channels_last", "[N, C, H, W]", str(list(sizes)), str(last), "(h*W + w)*C + c"),
        ("TensorFlow, images", "[N, H, W, C]", str([n, h, w, c]), str(nhwc), "(h*W + w)*C + c"),
    )
    grid = Grid(("who", "axes", "example", "strides", "place in one sample"), rows, wrap=(0,))
    return Words(
        "layout",
        (
            "✔ torch's convolutions take [N, C, H, W]: batch, channels, height, width",
            grid,
            "  from [N, H, W, C]: x.permute(0, 3, 1, 2); one image [H, W, C]: x.permute(2, 0, 1)",
            "  memory_format=torch.channels_last keeps the shape [N, C, H, W] and changes the "
            "strides: the numbers lie as in [N, H, W, C]",
            "  1-D: [N, C, L]; 3-D: [N, C, D, H, W]; without a batch: [C, H, W]",
            "  weights: [out_channels, in_channels/groups, kernel height, kernel width]; "
            "transposed: [in_channels, out_channels/groups, …]",
        ),
    )


def nn_vs_f() -> Words:
    """nn.Conv2d against F.conv2d."""
    rows = (
        ("what it is", "a module with a state", "a function"),
        ("weight and bias", "owned: parameters, initialised", "passed in at every call"),
        ("in model.parameters()", "yes", "no, unless you register them: nn.Parameter"),
        ("in the autograd graph", "yes: ConvolutionBackward0", "yes: ConvolutionBackward0"),
        ("gradients of the weight", "weight.grad", "w.grad, if w.requires_grad"),
        ("moved by model.to(device)", "yes", "the weights are yours to move"),
        ("says its sizes", "in_channels, out_channels, kernel_size", "by the weight's shape"),
        ("code", "conv = nn.Conv2d(3, 6, 5); conv(x)", "F.conv2d(x, w, b), w[6,3,5,5], b[6]"),
        ("relation", "forward calls F.conv2d(x, self.weight, …)", "computes"),
        ("use it for", "layers that learn", "weights from elsewhere; pooling, ReLU"),
    )
    return Words(
        "nn-vs-f",
        (
            "✔ F.conv2d is in the autograd graph (ConvolutionBackward0), as nn.Conv2d is; "
            "it owns no parameters",
            Grid(("", "nn.Conv2d", "F.conv2d"), rows, wrap=(0, 1, 2)),
        ),
    )


#: Family → an example for each number of axes: torch code with the input's shape.
FAMILIES: dict[str, tuple[str, ...]] = {
    "conv": (
        "nn.Conv1d(16,33,3)(x[20,16,50])",
        "nn.Conv2d(4,8,3,padding=1)(x[1,4,5,5])",
        "nn.Conv3d(16,33,3)(x[20,16,50,10,20])",
    ),
    "transposed": (
        "nn.ConvTranspose1d(16,8,4,2,1)(x[1,16,18])",
        "nn.ConvTranspose2d(16,8,4,2,1)(x[1,16,18,18])",
        "nn.ConvTranspose3d(16,8,4,2,1)(x[1,16,9,18,18])",
    ),
    "pool": (
        "nn.MaxPool1d(2)(x[1,6,28])",
        "nn.MaxPool2d(2)(x[1,6,28,28])",
        "nn.MaxPool3d(2)(x[1,6,8,28,28])",
    ),
}
_AXES = {1: "L", 2: "H, W", 3: "D, H, W"}


def family(name: str) -> Words:
    """The shapes of a family in one, two and three dimensions.

    Raises:
        UsageError: there is no such family.
    """
    if name not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise UsageError(f"--family: one of {known}, got {name!r}{near(name, FAMILIES)}")
    codes = FAMILIES[name]
    found = [label.read(code) for code in codes]
    rows = [_row(code, problem) for code, problem in zip(codes, found, strict=True)]
    heads = ("module", "input", "weight", "kernel", "example")
    shown = heads if isinstance(found[0], ConvProblem) else (*heads[:2], *heads[3:])
    keep = [heads.index(head) for head in shown]
    grid = Grid(shown, tuple(tuple(row[k] for k in keep) for row in rows), wrap=(1, 2))
    results = tuple(_result(code, p) for code, p in zip(codes, found, strict=True))
    return Words(
        f"family {name}",
        (
            f"✔ {', '.join(row[0] for row in rows)}: one, two and three axes behind [N, C]; "
            "a batch of Conv3d has 5"
            if name == "conv"
            else f"✔ {', '.join(row[0] for row in rows)}: one, two and three axes behind [N, C]",
            grid,
            "",
            Grid(("example", "output", "arithmetic", "parameters"), results, wrap=(2,)),
            "  [N, …] may be left out: one sample has an axis less",
        ),
    )


def _row(code: str, problem: Problem) -> tuple[str, ...]:
    rank = problem.rank
    axes = _AXES[rank]
    module = code.partition("(")[0].removeprefix("nn.")
    kernel = {1: "k", 2: "kh x kw", 3: "kd x kh x kw"}[rank]
    sizes = kernel.replace(" x ", ", ")
    weight = f"[out, in/groups, {sizes}]"
    if "Transpose" in module:
        weight = f"[in, out/groups, {sizes}]"
    return module, f"[N, C, {axes}]", weight, kernel, code.partition("(x[")[0]


def _result(code: str, problem: Problem) -> tuple[str, ...]:
    shapes = f"{shape_text(input_shape(problem))} -> {shape_text(problem.output_shape)}"
    count = params_line(problem) if isinstance(problem, ConvProblem) else "none"
    return code.partition("(x[")[0], shapes, line(problem), count


def _strides(sizes: Size) -> tuple[int, ...]:
    """Of a contiguous array."""
    return tuple(accumulate(reversed(sizes[1:]), mul, initial=1))[::-1]


TOPICS: dict[str, Callable[[], Words]] = {
    "glossary": glossary,
    "formula": formula,
    "layout": layout,
    "nn-vs-f": nn_vs_f,
}
