"""Every set is read, every case is what torch says, and the sets are what they claim to be."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from refconv import label
from refconv.errors import DtypeError, RefconvError, UsageError
from refconv.harness import cases
from refconv.harness.scaling import cases as scaled
from refconv.moves import ColumnProblem, IndexProblem, PadProblem
from refconv.ops import OPS
from refconv.problem import ConvProblem, PoolProblem

torch = pytest.importorskip("torch")
F = torch.nn.functional

EVERY = [(name, case) for name in cases.sets() for case in cases.load(name)]
FOLDER = Path(cases.__file__).parents[2] / "bench" / "cases"


def torch_shape(p):
    """The output shape that torch gives, on the meta device."""

    def array(shape, dtype=None):
        return torch.empty(shape, device="meta", dtype=dtype or getattr(torch, p.dtype))

    x = array(label.input_shape(p))
    call = getattr(F, p.op)
    match p:
        case ConvProblem():
            w, b = array(p.weight_shape), array((p.out_channels,)) if p.bias else None
            low = tuple(lo for lo, _ in p.padding)
            if p.transposed:
                y = call(x, w, b, p.stride, low, p.output_padding, p.groups, p.dilation)
            else:
                x = F.pad(x, [side for pair in reversed(p.padding) for side in pair])
                y = call(x, w, b, p.stride, 0, p.dilation, p.groups)
        case PoolProblem(kernel=()):
            y = call(x, p.out_size)
        case PoolProblem(norm=float()):
            sizes = (p.kernel, p.stride) if p.rank > 1 else (p.kernel[0], p.stride[0])
            y = call(x, p.norm, *sizes, p.ceil_mode)
        case PoolProblem() if "max" in p.op:
            y = call(x, p.kernel, p.stride, p.padding, p.dilation, p.ceil_mode)
        case PoolProblem():
            more = () if p.rank == 1 else (p.divisor,)
            y = call(x, p.kernel, p.stride, p.padding, p.ceil_mode, p.count_include_pad, *more)
        case ColumnProblem():
            size = () if p.op == "unfold" else (p.size,)
            y = call(x, *size, p.kernel, p.dilation, p.padding, p.stride)
        case IndexProblem():
            window = tuple(o - s + 1 for o, s in zip(p.large, p.small, strict=True))
            y = call(x, array(x.shape, torch.int64), window, 1, 0, p.large)
        case PadProblem():
            pads = [side for pair in reversed(p.pads) for side in pair]
            if p.mode != "constant":
                pads = pads[: 2 * (len(p.shape) - 2)]
            y = call(x, pads, p.mode, p.value if p.mode == "constant" else None)
    return tuple(y.shape)


@pytest.mark.parametrize(("name", "case"), EVERY, ids=[f"{n}:{c.name}" for n, c in EVERY])
def test_a_case_has_a_source_a_label_and_torchs_shape(name, case):
    assert case.source
    assert label.parse(label.format(case.problem)) == case.problem
    assert torch_shape(case.problem) == case.problem.output_shape
    assert cases.load(f"{name}:{case.name}") == [case]


@pytest.mark.parametrize("name", sorted(cases.sets()))
def test_a_set_says_what_it_is_and_repeats_nothing(name):
    assert cases.sets()[name]
    loaded = cases.load(name)
    twice = [p for p, count in Counter(case.problem for case in loaded).items() if count > 1]
    if name not in ("edge", "classics"):
        assert not twice
    if name not in ("edge", "classics", "cpu", "general"):  # networks: one image, --batch for more
        assert all(label.input_shape(case.problem)[0] == 1 for case in loaded)


def test_the_asked_for_sets_are_there():
    networks = {"resnet50", "vgg16", "mobilenet_v2", "unet", "dcgan", "convnext", "resnext50"}
    assert set(cases.sets()) >= networks | {"classics", "edge"}


def test_edge_has_every_op_and_the_classics_are_cheap():
    edge = [case.problem for case in cases.load("edge")]
    assert {problem.op for problem in edge} == set(OPS)
    assert len(edge) >= 40
    assert all(getattr(problem, "macs", 0) < 1e6 for problem in edge)
    assert sum(getattr(case.problem, "macs", 0) for case in cases.load("classics")) < 1.5e9


SEQUENCES = {
    "vgg16": (3, 224, 224),
    "dcgan": (100, 1, 1),
    "classics:lenet": (3, 32, 32),
    "classics:mnist": (1, 28, 28),
    "classics:gan": (1, 28, 28),
    "classics:netd": (3, 96, 96),
}


@pytest.mark.parametrize("spec", SEQUENCES)
def test_layers_fit_one_behind_the_other(spec):
    name, _, prefix = spec.partition(":")
    shape = SEQUENCES[spec]
    chosen = [case.problem for case in cases.load(name) if case.name.startswith(prefix)]
    assert len(chosen) > 1
    for problem in chosen:
        wanted = problem.input_shape[1:]
        # a layer that repeats another is listed once: the map may not change, only be pooled next
        assert wanted == shape or (name == "vgg16" and wanted[0] == shape[0])
        shape = problem.output_shape[1:]


def test_known_answers():
    def out(case):
        return cases.load(f"classics:{case}")[0].problem.output_shape

    assert out("cs231n") == (1, 2, 3, 3)
    assert out("lenet_pool2") == (1, 16, 5, 5)
    assert out("mnist_pool") == (1, 64, 12, 12)
    assert out("netd_conv8") == (1, 512, 6, 6)
    assert (out("valid_7_5_3"), out("same_7_5_3")) == ((1, 1, 1), (1, 1, 3))
    assert out("torch_up") == (1, 16, 12, 12)
    params = {f"gan_d_conv{i}": p for i, p in ((1, 1088), (2, 131200))} | {"torch_params": 832}
    for name, count in params.items():
        assert cases.load(f"classics:{name}")[0].problem.params == count


def test_one_problem_in_any_notation():
    [case] = cases.load("nn.Conv2d(6, 16, 5)", in_shape="1x6x14x14", dtype="float64")
    assert case.name == "conv2d x[1,6,14,14] w[16,6,5,5] b float64"
    assert case.text == "nn.Conv2d(6, 16, 5)"
    assert cases.load('mb1ic6ih14oc16kh5n"net:c1*3"')[0].name == "net:c1"
    assert cases.load("max_pool2d x[1,2,4,4] k2")[0].source == ""


def test_a_dtype_for_a_whole_set_spares_those_that_name_theirs():
    found = {case.name: case.problem.dtype for case in cases.load("edge", dtype="float64")}
    assert (found["leftover"], found["half"]) == ("float64", "float16")
    [plain], [double] = (
        cases.load("classics:cs231n"),
        cases.load("classics:cs231n", dtype="float64"),
    )
    assert double.problem == replace(plain.problem, dtype="float64")


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("resnet5", r"did you mean resnet50 or resnext50\? Sets: "),
        ("nothing_like_it", r"'nothing_like_it'\. Sets: classics, convnext"),
        ("resnet50:conv2", "has no case 'conv2'"),
        ("missing.txt", "cannot be read"),
        ("", "not a problem in any notation"),
        ("conv2d", "no set of cases 'conv2d'"),
        ("conv2d x[1,3,8,8]", "needs w"),
        ("nn.Conv2d(3,6,5)", "how large its input is: .* --in 1x3x32x32, or"),
        ("con2d x[1,3,8,8]", r"or conv1d\? A label"),
    ],
)
def test_what_cannot_be_read_says_why(spec, says):
    with pytest.raises(UsageError, match=says.replace("(", r"\(")):
        cases.load(spec)


@pytest.mark.parametrize("dtype", ["int64", "complex64"])
@pytest.mark.parametrize("name", ["classics", "edge"])
def test_cases_that_a_dtype_is_not_defined_for_are_refused_one_by_one(name, dtype):
    found, usual = cases.load(name, dtype=dtype), cases.load(name)
    assert [case.name for case in found] == [case.name for case in usual]
    refused = [case for case in found if case.refused]
    assert bool(refused) == ((name, dtype) != ("classics", "int64"))
    for case in found:
        named = case.problem.dtype != dtype
        assert not (case.refused and named)
        if case.refused:
            assert case.refused.startswith(f"--dtype {dtype}: {case.problem.op}: ")
            with pytest.raises(DtypeError):
                label.parse(label.format(case.problem))
        elif not named:
            assert label.parse(label.format(case.problem)) == case.problem


def test_a_dtype_that_no_case_is_defined_for_is_an_error(tmp_path):
    with pytest.raises(DtypeError, match="--dtype complex64: max_pool2d: not defined"):
        cases.load("classics:lenet_pool1", dtype="complex64")
    with pytest.raises(UsageError, match="not a dtype"):
        cases.load("classics", dtype="float12")
    file = tmp_path / "mine.txt"
    file.write_text("conv1d x[1,2,9] w[3,2,3]\nunfold x[1,2,5,5] k3 int64\n")
    with pytest.raises(DtypeError, match="line 2"):  # its own dtype is the file's mistake
        cases.load(str(file), dtype="complex64")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "nn.Conv2d(6,16,5,groups=4)",
            "conv2d: groups must divide input channels, but 4 does not divide 6 "
            "(input (1, 6, 14, 14), nn.Conv2d(6,16,5,groups=4))",
        ),
        (
            "nn.ConvTranspose2d(6,16,5,groups=3)",
            "conv_transpose2d: groups must divide output channels, but 3 does not divide 16 "
            "(input (1, 6, 14, 14), nn.ConvTranspose2d(6,16,5,groups=3))",
        ),
        (
            "nn.Conv2d(6,16,5,groups=3)",
            "conv2d: groups must divide output channels, but 3 does not divide 16 "
            "(input (1, 6, 14, 14), weight (16, 2, 5, 5), bias (16,))",
        ),
    ],
)
def test_groups_that_divide_nothing_say_op_rule_numbers_and_shapes(text, says):
    with pytest.raises(RefconvError) as caught:
        cases.load(text, in_shape="1x6x14x14")
    assert str(caught.value) == says


def test_a_file_of_cases(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text(
        "# mine\nfirst: conv2d x[1,3,8,8] w[4,3,3,3]  # here\nnn.Conv1d(2,3,3)(x[1,2,9])\n"
        'mb1ic6ih14oc16kh5n"net:c1"\n\n  # a remark\n'
    )
    found = cases.load(str(file))
    assert [case.name for case in found] == ["first", "conv1d x[1,2,9] w[3,2,3] b", "net:c1"]
    assert found[0].source == "here"
    for text, says in {
        "a: conv2d x[1,3,8,8] w[4,2,3,3]": "line 1: conv2d",
        "a: fold\n": "line 1",
        "a: pad x[3] p1\na: pad x[4] p1": "line 2: a is already on line 1",
        "# nothing": "holds no case",
    }.items():
        file.write_text(text)
        with pytest.raises(RefconvError, match=says):
            cases.load(str(file))
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not text"):
        cases.load(str(file))


def test_set_files_are_where_a_checkout_has_them():
    assert {file.stem for file in FOLDER.glob("*.txt")} == set(cases.sets())


def test_a_cases_own_name_is_enough():
    """Where one set has it; where several have it, they are listed."""
    (case,) = cases.load("cs231n")
    assert case == cases.load("classics:cs231n")[0]
    shared = [{c.name for c in cases.load(name)} for name in ("resnet50", "resnext50")]
    name = sorted(shared[0] & shared[1])[0]
    with pytest.raises(UsageError, match=f"resnet50:{name} or .*resnext50:{name}"):
        cases.load(name)


def test_the_work_of_scaling_grows_over_two_decades():
    found = scaled()
    assert len({c.name for c in found}) == len(found) == 24
    by = {axis: [c for c in found if f"/{axis}/" in c.name] for axis in "NCH"}
    for axis, some in by.items():
        macs = [c.problem.macs for c in some]
        assert macs == sorted(macs)
        assert macs[-1] / macs[0] >= (100 if axis == "N" else 10_000)
