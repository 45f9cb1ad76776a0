"""The page's arithmetic in JavaScript gives what refconv gives in Python, on drawn problems."""

import contextlib
import io
import json

import pytest

import refconv as rc
from refconv import window
from refconv.errors import RefconvError
from refconv.learn.count import problem_macs
from tests.page.problems import OPS, drawn, numbers, outputs, problem

pytestmark = pytest.mark.browser

SETTINGS = [(seed, drawn(seed, op)) for op in OPS for seed in range(60)]

ENGINE = """(cases) => cases.map(({ s, x, w, b }) => {
  const p = refconv.problemOf(s);
  if (p.error) return { error: p.error.code };
  const pick = (array) => (...at) => at.reduce((part, i) => part[i], array);
  const data = { x: pick(x), w: pick(w), b: pick(b) }, y = [];
  for (let n = 0; n < p.n; n++) for (let k = 0; k < p.channels; k++)
    for (let i = 0; i < p.out[0]; i++) for (let j = 0; j < p.out[1]; j++)
      y.push(refconv.valueOf(p, data, { n, k, i, j }));
  const read = [];
  for (let c = 0; c < p.c; c++) for (let i = 0; i < s.h; i++) for (let j = 0; j < s.w; j++) {
    const { rows, columns, channels } = refconv.readersOf(p, c, i, j);
    read.push(rows.length * columns.length * channels);
  }
  return { out: p.out, channels: p.channels, weight: p.weightShape, params: p.params,
    macs: p.macs, inside: p.inside, over: p.over, read,
    y: y.map((v) => v === -Infinity ? null : v) };
})"""


@pytest.fixture(scope="module")
def answers(tab):
    """What the page's engine says to every drawn problem."""
    cases = []
    for seed, s in SETTINGS:
        given = {name: array.tolist() for name, array in numbers(seed, s).items()}
        cases.append({"s": s, **given})
    return tab.tab.evaluate(ENGINE, cases)


def refusal(s):
    """What refconv says against these settings, or None."""
    try:
        problem(s)
    except RefconvError as error:
        return str(error)
    return None


def test_it_refuses_where_refconv_refuses(answers):
    """And nowhere else; both happen among the drawn problems."""
    refused = 0
    for (_, s), answer in zip(SETTINGS, answers, strict=True):
        ours = refusal(s)
        assert (ours is None) == ("error" not in answer), (s, ours, answer)
        refused += ours is not None
    assert 5 < refused < len(SETTINGS) // 2


def test_sizes_and_counts(answers):
    """Output size, weight shape, parameters, multiply-adds and the cells left over."""
    for (_, s), answer in zip(SETTINGS, answers, strict=True):
        if "error" in answer:
            continue
        p = problem(s)
        assert tuple(answer["out"]) == p.out_size, s
        if s["op"] in ("conv", "transposed"):
            assert tuple(answer["weight"]) == p.weight_shape
            counted = answer["params"], answer["macs"], answer["inside"]
            assert counted == (p.params, problem_macs(p), p.macs), s
        if s["op"] != "transposed":
            for a in range(2):
                used = (p.out_size[a] - 1) * s["stride"][a]
                used += window.effective_kernel(s["kernel"][a], s["dilation"][a])
                assert answer["over"][a] == p.in_size[a] + 2 * s["padding"][a] - used


def test_every_output_is_the_naive_kernels(answers):
    """Small whole numbers: equal, or for means the same double."""
    checked = 0
    for (seed, s), answer in zip(SETTINGS, answers, strict=True):
        if "error" in answer:
            continue
        y = outputs(s, numbers(seed, s)).ravel().tolist()
        got = [float("-inf") if v is None else v for v in answer["y"]]
        assert got == pytest.approx(y, rel=1e-15, abs=0), s
        checked += len(y)
    assert checked > 2000


def test_every_input_cell_knows_its_readers(answers):
    """As many as torch's arithmetic counts: terms of a gradient element."""
    for (_, s), answer in zip(SETTINGS, answers, strict=True):
        if "error" in answer or s["op"] == "transposed":
            continue
        p = problem(s)
        along = [
            [
                window.taps_per_input(
                    i, p.out_size[a], s["kernel"][a], s["stride"][a], s["padding"][a],
                    s["dilation"][a],
                )
                for i in range(p.in_size[a])
            ]
            for a in range(2)
        ]  # fmt: skip
        channels = 1 if s["op"] in ("max", "avg") else s["k"] // s["groups"]
        expected = [h * w * channels for h in along[0] for w in along[1]] * s["c"]
        assert answer["read"] == expected, s


BROKEN = [
    ("conv", {"kernel": [9, 3], "padding": [1, 1]}), ("conv", {"dilation": [4, 4]}),
    ("conv", {"groups": 2, "c": 3}), ("conv", {"groups": 2, "c": 4, "k": 3}),
    ("conv", {"groups": 0}), ("conv", {"stride": [0, 0]}), ("conv", {"padding": [-1, -1]}),
    ("conv", {"dilation": [0, 0]}), ("conv", {"kernel": [0, 0]}),
    ("transposed", {"stride": [2, 2], "extra": [2, 2]}), ("transposed", {"extra": [0, 2]}),
    ("transposed", {"padding": [4, 4]}), ("transposed", {"groups": 2, "c": 3}),
    ("max", {"padding": [2, 2]}), ("max", {"kernel": [9, 9]}), ("max", {"dilation": [0, 0]}),
    ("max", {"kernel": [0, 0]}), ("max", {"stride": [0, 0]}), ("max", {"padding": [-1, -1]}),
    ("avg", {"padding": [2, 2]}), ("avg", {"kernel": [9, 9]}), ("avg", {"stride": [0, 0]}),
    ("avg", {"kernel": [9, 9], "stride": [9, 9]}), ("avg", {"kernel": [0, 0]}),
    ("max", {"kernel": [7, 7], "ceil": True}),
]  # fmt: skip
USUAL = {"n": 1, "c": 3, "h": 5, "w": 5, "k": 2, "kernel": [3, 3], "stride": [1, 1],
         "padding": [0, 0], "dilation": [1, 1], "groups": 1, "extra": [0, 0], "ceil": False,
         "bias": True, "countPad": True}  # fmt: skip


def module_of(s):
    """torch's module of these settings."""
    from torch import nn

    steps = {"stride": tuple(s["stride"]), "padding": tuple(s["padding"])}
    dilation, kernel = tuple(s["dilation"]), tuple(s["kernel"])
    if s["op"] == "max":
        return nn.MaxPool2d(kernel, **steps, dilation=dilation, ceil_mode=s["ceil"])
    if s["op"] == "avg":
        return nn.AvgPool2d(kernel, **steps, ceil_mode=s["ceil"])
    more = {"dilation": dilation, "groups": s["groups"]}
    if s["op"] == "conv":
        return nn.Conv2d(s["c"], s["k"], kernel, **steps, **more)
    more["output_padding"] = tuple(s["extra"])
    return nn.ConvTranspose2d(s["c"], s["k"], kernel, **steps, **more)


def torchs_words(s):
    """What torch says to these settings."""
    import torch

    with pytest.raises((RuntimeError, ValueError)) as caught:
        module_of(s)(torch.zeros(s["n"], s["c"], s["h"], s["w"]))
    return str(caught.value)


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_refusals_are_torchs_words(page):
    """Every refusal quotes what torch says to the same settings, letter for letter."""
    cases = [{**USUAL, "op": op, **change} for op, change in BROKEN]
    said = page.tab.evaluate("(all) => all.map((s) => refconv.problemOf(s).error)", cases)
    for s, error in zip(cases, said, strict=True):
        assert error is not None, s
        assert error["torch"] == torchs_words(s), s


def test_receptive_fields(page):
    """Of the nets and of drawn chains, as refconv.receptive_field has them."""
    chains = []
    for seed in range(40):
        layers = [drawn(seed * 5 + i, OPS[(0, 2, 3)[i % 3]]) for i in range(1 + seed % 4)]
        chains.append([{k: s[k] for k in ("op", "kernel", "stride", "padding", "dilation")}
                       for s in layers])  # fmt: skip
    found = page.tab.evaluate(
        "(all) => all.map((chain) => [0, 1].map((a) => refconv.fields(chain, a).at(-1)))", chains
    )
    for chain, fields in zip(chains, found, strict=True):
        words = [
            f"nn.Conv2d(1,1,{tuple(s['kernel'])},{tuple(s['stride'])},{tuple(s['padding'])},"
            f"{tuple(s['dilation'])})"
            for s in chain
        ]
        expected = rc.receptive_field(words)
        for field, axis in zip(fields, expected.axes, strict=True):
            assert (field["size"], field["jump"], field["start"]) == (
                axis.size, axis.stride, axis.start,
            )  # fmt: skip


def test_paddings_solved(page):
    """Every padding that gives the wanted size, and no other."""
    cases = [
        [op, size, wanted, k, s, d]
        for op in ("conv", "transposed") for size in (5, 6, 32) for wanted in (1, 3, 6, 16, 32)
        for k in (1, 3, 4) for s in (1, 2) for d in (1, 2)
    ]  # fmt: skip
    found = page.tab.evaluate("(all) => all.map((c) => refconv.paddingsFor(...c).paddings)", cases)
    for (op, size, wanted, k, s, d), paddings in zip(cases, found, strict=True):
        size_of = window.out_size if op == "conv" else (
            lambda i, k, s, p, d: window.conv_transpose_out_size(i, k, s, p, 0, d)
        )  # fmt: skip
        assert paddings == [p for p in range(80) if size_of(size, k, s, p, d) == wanted]
    assert any(found)
    assert not all(found)


def test_gpu_launch_is_the_plan_functions(page):
    """Blocks, threads, tile and shared memory of conv_1 and conv_2 as they are launched."""
    from refconv.backends import _cuda_conv
    from refconv.backends._cuda_launch import Given

    for seed, s in SETTINGS[:25]:
        try:
            p = problem(s)
        except RefconvError:
            continue
        inputs, (y,), _, _ = p.call("conv_fprop")
        shapes = dict(zip(("x", "w", "b"), inputs, strict=True)) | {"y": y}
        shapes = {name: shape for name, shape in shapes.items() if 0 not in shape}
        strides = {name: (1,) * len(shape) for name, shape in shapes.items()}
        given = Given(p, "conv_fprop", shapes, strides, multiprocessors=1)
        (direct,), (shared,) = _cuda_conv.fprop_direct(given), _cuda_conv.fprop_shared(given)
        mine = page.tab.evaluate(
            "(s) => { const p = refconv.problemOf(s), at = { n: p.n - 1, k: p.k - 1, "
            "i: p.out[0] - 1, j: p.out[1] - 1 }; return [refconv.directPlan(p), "
            "refconv.sharedPlan(p), refconv.directThread(p, at), refconv.sharedThread(p, at)]; }", s
        )  # fmt: skip
        assert (mine[0]["blocks"], mine[0]["threads"]) == (direct.grid[0], direct.block[0]), seed
        assert mine[1]["blocks"] == shared.grid[0], s
        assert (mine[1]["width"], mine[1]["height"]) == shared.block[:2]
        # The page counts float32; this problem is float64.
        assert mine[1]["bytes"] * 2 == shared.shared
        assert mine[2]["block"] == direct.grid[0] - 1
        assert mine[3]["block"] == shared.grid[0] - 1


def test_code_prints_the_pinned_number(page):
    """The torch and the NumPy code run, and print shape and value that stand in their comments."""
    links = [
        "preset=cs231n", "preset=cs231n&k=6&c=6&groups=3&kernel=2,3&dilation=2&padding=2,1&flip=1",
        "preset=cs231n&op=transposed&extra=1,0&groups=1&at=0.1.3.2",
        "preset=cs231n&op=transposed&c=4&k=4&groups=2&dilation=2,1&bias=0&kernel=3,2",
        "preset=cs231n&op=max&ceil=1&kernel=2&padding=1&at=0.2.2.2",
        "preset=cs231n&op=avg&ceil=1&kernel=3&stride=3&padding=1&countPad=0&at=0.1.1.1",
        "preset=cs231n&op=avg&ceil=1&kernel=3&stride=2&padding=1&h=6&w=6&at=0.1.3.3",
        "preset=cs231n&op=avg&h=6&w=6&kernel=2&stride=2&padding=0",
    ]  # fmt: skip
    for link in links:
        for name in ("torch", "numpy"):
            lines = page.tab.evaluate(
                "(link) => refconv.codeOf(refconv.derive(refconv.read(link).state)).lines",
                f"{link}&code={name}",
            )
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec("\n".join(lines), {})
            promised = [line.split("# ")[1] for line in lines if line.startswith("print")]
            shape, value = printed.getvalue().splitlines()
            assert shape == promised[0], (link, name)
            assert float(value) == pytest.approx(float(promised[1]), abs=1e-4), (link, name)


def test_the_engine_answers_questions(page):
    """Where the quiz asks the engine, it gives the answer of the data."""
    found = page.tab.evaluate(
        "() => refconv.QUESTIONS.map((q) => [q.id, q.answer, refconv.engineAnswer(q.id)])"
    )
    asked = [each for each in found if each[2] is not None]
    assert len(found) == 34
    assert len(asked) >= 18
    for number, answer, engine in asked:
        assert engine == answer, f"question {number}"


def test_nets_have_torchs_shapes(page):
    """The presets' layers are those of docs/examples: shapes and parameters of every stage."""
    chains = page.tab.evaluate(
        "() => ['lenet', 'mnist', 'netd'].map((name) => refconv.derive(refconv.read("
        "`preset=${name}`).state).chain.map((step) => [step.output, step.params]))"
    )
    expected = {0: ([1, 10], 62_006), 1: ([1, 10], 1_199_882), 2: ([1, 1], 25_996_993)}
    for i, chain in enumerate(chains):
        shape, params = expected[i]
        assert chain[-1][0] == shape
        assert sum(step[1] for step in chain) == params
    assert json.loads(json.dumps(chains[2][15][0])) == [1, 512, 6, 6]
