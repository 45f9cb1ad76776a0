"""What is timed: layers, in order of importance, and which goal each belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any

from ... import label
from ...notation import input_shape
from ...problem import ConvProblem, PoolProblem
from .. import cases, passes

#: Precision → dtype. tf32 rows have float32 arrays, and TF32 on for torch.
DTYPE = {"fp32": "float32", "tf32": "float32", "bf16": "bfloat16", "fp16": "float16"}
#: Layers whose arrays are larger are timed on fewer images.
LARGEST = 3e8
#: Steps that are timed beside torch, of those that can run a row: those predicted to be fastest.
STEPS = 3
BATCH = 256
#: Of a rehearsal: channels and sizes that the emulator can run.
CHANNELS, EDGE = 6, 9

#: The layers that floors were worked out for, with their goals; N is 256, VGG's 64.
LAYERS = {
    "rn_stem": ("conv2d x[256,3,224,224] w[64,3,7,7] s2 p3", "stem"),
    "rn_3x3_64": ("conv2d x[256,64,56,56] w[64,64,3,3] p1", "3x3"),
    "rn_3x3_128": ("conv2d x[256,128,28,28] w[128,128,3,3] p1", "3x3"),
    "rn_3x3_256": ("conv2d x[256,256,14,14] w[256,256,3,3] p1", "3x3"),
    "rn_3x3_512": ("conv2d x[256,512,7,7] w[512,512,3,3] p1", "3x3"),
    "rn_1x1_256-64": ("conv2d x[256,256,56,56] w[64,256,1,1]", "1x1"),
    "vgg_64_224": ("conv2d x[64,64,224,224] w[64,64,3,3] p1", "3x3"),
    "vgg_256_56": ("conv2d x[64,256,56,56] w[256,256,3,3] p1", "3x3"),
    "vgg_512_28": ("conv2d x[64,512,28,28] w[512,512,3,3] p1", "3x3"),
    "dw3_256": ("conv2d x[256,256,56,56] w[256,1,3,3] p1 g256", "depthwise"),
    "dw7_192": ("conv2d x[256,192,56,56] w[192,1,7,7] p3 g192", "depthwise"),
}
POOLS = {
    "pool3s2_64": "max_pool2d x[256,64,112,112] k3 s2 p1",
    "pool2_64": "max_pool2d x[64,64,224,224] k2",
    "avg3s2_64": "avg_pool2d x[256,64,112,112] k3 s2 p1",
}
TRANSPOSED = {
    "dcgan_g2": "conv_transpose2d x[256,512,4,4] w[512,256,4,4] s2 p1",
    "dcgan_g3": "conv_transpose2d x[256,256,8,8] w[256,128,4,4] s2 p1",
    "dcgan_g4": "conv_transpose2d x[256,128,16,16] w[128,64,4,4] s2 p1",
    "dcgan_g5": "conv_transpose2d x[256,64,32,32] w[64,3,4,4] s2 p1",
}
FUSED = ("rn_3x3_64", "rn_1x1_256-64", "vgg_256_56")
TINY = ("rn_3x3_64", "rn_3x3_128", "rn_3x3_256", "rn_3x3_512", "rn_1x1_256-64", "dw3_256")
#: A layer's kind and the row's precision → the goal.
GOALS = {
    ("stem", "fp32"): "stem",
    ("stem", "bf16"): "stem",
    ("3x3", "fp32"): "strict",
    ("3x3", "tf32"): "dense",
    ("3x3", "bf16"): "dense",
    ("1x1", "tf32"): "dense",
    ("1x1", "bf16"): "dense",
    ("depthwise", "fp32"): "depthwise",
    ("depthwise", "bf16"): "depthwise",
}
SETS = ("resnet50", "vgg16", "mobilenet_v2", "convnext", "dcgan")


@dataclass(frozen=True)
class Row:
    """One layer, one way through it, in one precision.

    Args:
        way: of ``passes``, or ``fused``: convolution, bias and ReLU.
        goal: of ``goals``; empty: it belongs to none.
        ladder: every step is timed, slow ones too.
    """

    case: str
    text: str
    precision: str
    way: str = "fprop"
    goal: str = ""
    ladder: bool = False

    @property
    def key(self) -> str:
        """Its item's."""
        batch = f"N{input_shape(label.parse(self.text))[0]}"
        words = ["time", self.case, batch, self.precision, self.way]
        return "/".join([*words, *(["ladder"] if self.ladder else [])])

    @property
    def problem(self) -> Any:
        """In the row's dtype."""
        return replace(label.parse(self.text), dtype=DTYPE[self.precision])

    @property
    def slot(self) -> str:
        """The slot whose steps are timed; none of a pool's gradient, which autograd puts together
        of several, each with the step that it chooses.
        """
        problem = self.problem
        if self.way == "dgrad" and not isinstance(problem, ConvProblem):
            return ""
        return passes.slots(problem, "fprop" if self.way == "fused" else self.way)[0]

    @property
    def tf32(self) -> bool:
        """Whether torch may use TF32."""
        return self.precision == "tf32"


def items(small: bool = False) -> list[dict[str, Any]]:
    """All rows, the most important first, each once; ``small``: as a rehearsal has them."""
    found: dict[str, dict[str, Any]] = {}
    for row in every():
        if small:
            row = replace(row, text=label.format(shrunk(label.parse(row.text))))
        found.setdefault(row.key, {"kind": "time", "key": row.key, "row": asdict(row)})
    return list(found.values())


def every() -> Iterator[Row]:
    """The rows in order; some come twice."""
    for precision in ("bf16", "fp32"):
        yield from table(precision)
        for name, text in POOLS.items():  # averages have no indices to leave out
            yield Row(name, text, precision, goal="pool" if "max" in text else "")
    for precision in ("fp32", "bf16"):
        yield from (Row(n, t, precision, "fprop", "transposed") for n, t in TRANSPOSED.items())
        yield from (Row(n, f"{LAYERS[n][0]} b", precision, "fused", "fused") for n in FUSED)
        yield from (Row(n, first(LAYERS[n][0]), precision, goal="batch1") for n in TINY)
    yield from table("tf32")
    for precision in ("bf16", "fp32"):
        for way in ("dgrad", "wgrad"):
            yield from table(precision, way)
        yield Row("pool3s2_64", POOLS["pool3s2_64"], precision, "indices")
        yield Row("pool3s2_64", POOLS["pool3s2_64"], precision, "dgrad")
    for way in ("fprop", "dgrad", "wgrad"):
        for precision in ("fp32", "bf16"):
            yield Row("rn_3x3_64", LAYERS["rn_3x3_64"][0], precision, way, ladder=True)
    for way in ("fprop", "dgrad", "wgrad"):
        for precision in ("bf16", "fp32"):
            yield from networks(precision, way, BATCH)
        yield from networks("fp32", way, 1)


def table(precision: str, way: str = "fprop") -> Iterator[Row]:
    """The table's layers; only the forward pass has goals."""
    for name, (text, kind) in LAYERS.items():
        goal = GOALS.get((kind, precision), "") if way == "fprop" else ""
        if kind != "depthwise" or precision != "tf32":  # torch's own kernel there knows no TF32
            yield Row(name, text, precision, way, goal)


def networks(precision: str, way: str, batch: int) -> Iterator[Row]:
    """The layers of the networks in turn: the first of each, then the second of each."""
    sets = [[(name, case) for case in cases.load(name)] for name in SETS]
    for i in range(max(map(len, sets))):
        for name, case in (s[i] for s in sets if i < len(s)):
            problem = fitting(case.problem, batch)
            if passes.exists(problem, way):
                yield Row(f"{name}:{case.name}", label.format(problem), precision, way)


def fitting(problem: Any, batch: int) -> Any:
    """With this batch, or half, a quarter, … where arrays would be too large."""
    while True:
        made = cases.with_batch(problem, batch)
        if batch == 1 or max(map(prod, (input_shape(made), made.output_shape))) <= LARGEST:
            return made
        batch //= 2


def first(text: str) -> str:
    """The layer for one image."""
    return label.format(cases.with_batch(label.parse(text), 1))


def shrunk(problem: Any) -> Any:
    """The layer as the emulator can run it: one or two images, few channels, small sizes; kernel,
    stride, padding and whether it is depthwise stay.
    """
    x = [min(2, input_shape(problem)[0]), min(CHANNELS, input_shape(problem)[1])]
    if isinstance(problem, PoolProblem):
        words = label.format(problem).split()
        shape = (*x, *(min(EDGE, n) for n in problem.in_size))
        return label.parse(" ".join([words[0], _array("x", shape), *words[2:]]))
    assert isinstance(problem, ConvProblem)
    if problem.groups > 1:
        w, groups = [x[1] * problem.out_channels // problem.in_channels, 1], f" g{x[1]}"
    else:
        w = [min(CHANNELS, problem.out_channels), x[1]]
        w, groups = (w[::-1] if problem.transposed else w), ""
    size = tuple(max(min(EDGE, n), min(k, n)) for n, k in zip(problem.in_size, problem.kernel))  # noqa: B905
    words = label.format(problem).split()
    kept = [word for word in words[3:] if not word.startswith("g")]
    texts = (_array("x", (*x, *size)), _array("w", (*w, *problem.kernel)))
    return label.parse(" ".join([words[0], *texts, *kept]) + groups)


def _array(name: str, shape: Iterable[int]) -> str:
    return f"{name}[{','.join(map(str, shape))}]"
