"""harness.models: whole models, torch's and the converted one, layer by layer."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from refconv import errors
from refconv.harness import compare, modelfile, models, whole
from refconv.harness.records import DISTANCE
from refconv.kernels.im2col import conv, pool
from refconv.oracle import inputs

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
FAST = {"backends": ("im2col", "torch"), "time": False}


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """A user's file; what importing it leaves behind is removed again."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "nets.py"
    path.write_text(Path(__file__).with_name("nets_to_compare.py").read_text())
    return path


def run(spec, shape, **options):
    return list(models.compare_model(str(spec), shape, **FAST | options))


def names(rows):
    return list(dict.fromkeys(row.case for row in rows))


def check(row, result):
    return next(c for c in row.checks if c.result == result)


@pytest.mark.parametrize(
    ("spec", "shape", "layers"),
    [
        (
            "lenet.py:LeNet",
            "3x32x32",
            ["conv1", "forward() max_pool2d", "conv2", "forward() max_pool2d #2"],
        ),
        ("mnist.py:Net", "1x28x28", ["conv1", "conv2", "forward() max_pool2d"]),
    ],
)
def test_examples(spec, shape, layers):
    rows = run(EXAMPLES / spec, shape)
    name = spec.partition(":")[2]
    assert names(rows) == [f"{name}.{layer}" for layer in layers] + [f"{name} (whole model)"]
    assert {row.status for row in rows} == {"ok"}
    for row in rows:
        if row.op != "model":
            assert check(row, "output").ratio is not None
            assert 0 < check(row, "propagated").max_error < 1e-5
            assert row.source.endswith(spec)
    assert f"taken as a batch of one, 1x{shape}" in rows[-1].hint
    assert rows[-1].label.endswith(f"{spec} --in {shape}")
    assert [c.result for c in rows[-1].checks] == ["output"]
    assert {c.rule for row in rows for c in row.checks if c.ratio is None} == {DISTANCE}
    again = list(models.compare_model(*rows[-1].label.split(" --in "), **FAST))
    assert again == rows


def test_netd_builds():
    from refconv.harness import modelfile

    model = modelfile.load(str(EXAMPLES / "netd.py:NetD"))
    assert sum(p.numel() for n, p in model.named_parameters() if _counted(model, n)) == 25_996_993
    with torch.no_grad():
        assert model(torch.zeros(2, 3, 96, 96)).shape == (2,)


def _counted(model, name):
    return not isinstance(model.get_submodule(name.rpartition(".")[0]), torch.nn.BatchNorm2d)


def test_a_branch_a_shared_layer_and_work_in_place(nets):
    rows = run(f"{nets}:ResNet", "2x3x10x10")
    assert {(row.status, row.reason) for row in rows} == {("ok", "")}
    one = ["conv pad", "conv", "conv pad #2", "conv #2", "branch", "forward() avg_pool2d"]
    assert names(rows) == [
        "ResNet.stem.0",
        "ResNet.stem.1",
        *(f"ResNet.blocks.{i}.{layer}" for i in (0, 1) for layer in one),
        "ResNet.forward() adaptive_avg_pool2d",
        "ResNet (whole model)",
    ]
    by = {row.case: row for row in rows if row.backend == "im2col"}
    assert [c.result for c in by["ResNet.blocks.0.conv pad"].checks] == ["output"]
    assert [c.result for c in by["ResNet.blocks.0.conv"].checks] == ["output", "propagated"]
    assert not rows[-1].hint  # it had a batch axis


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_transposed_and_unpool(nets, dtype):
    rows = run(f"{nets}:Decoder", (3, 8, 8), dtype=dtype, backends=("naive", "im2col", "torch"))
    assert {(row.status, row.reason) for row in rows} == {("ok", "")}
    assert [row.op for row in rows[::3]] == [
        "max_pool2d", "max_unpool2d", "max_pool2d", "max_unpool2d", "conv_transpose2d", "model",
    ]  # fmt: skip
    assert {row.dtype for row in rows} == {dtype}


def test_torch_functions(nets):
    rows = run(f"{nets}:Line", "1x4x9")
    assert {row.status for row in rows} == {"ok"}
    assert [row.op for row in rows[::2]] == [
        "max_pool1d", "pad", "lp_pool1d", "adaptive_max_pool1d", "model",
    ]  # fmt: skip
    assert rows[-1].input_shape == (1, 4, 9)  # as a picture it fits nothing
    assert run(f"{nets}:Picture", "3x8x8")[-1].input_shape == (1, 3, 8, 8)


@pytest.mark.parametrize("name", ["lazy", "instance"])
def test_functions_and_instances(nets, name):
    rows = run(f"{nets}:{name}", "3x6x6")
    assert {row.status for row in rows} == {"ok"}
    assert names(rows) == [f"{name}.0" if name == "lazy" else name, f"{name} (whole model)"]


def test_a_package(nets, monkeypatch):
    monkeypatch.chdir(nets.parent)
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    assert {row.status for row in run("nets:Line", "1x4x9")} == {"ok"}
    monkeypatch.delitem(sys.modules, "nets")


def test_seed_changes_weights_and_input_only(nets):
    before = torch.get_rng_state()
    runs = [run(f"{nets}:Block", "4x8x8", seed=seed) for seed in (0, 0, 1)]
    errors_ = [[c.max_error for row in rows for c in row.checks] for rows in runs]
    assert errors_[0] == errors_[1] != errors_[2]
    assert torch.equal(torch.get_rng_state(), before)


def test_image(nets, tmp_path):
    from PIL import Image

    path = tmp_path / "picture.png"
    Image.fromarray(np.arange(12 * 12 * 3, dtype=np.uint8).reshape(12, 12, 3)).save(path)
    rows = run(f"{nets}:ResNet", "3x10x10", image=path)
    assert {row.status for row in rows} == {"ok"}
    assert {c.data for row in rows for c in row.checks} == {"image"}


def test_times_what_is_right(nets):
    rows = run(f"{nets}:Block", "4x8x8", backends=("naive", "im2col", "torch"), time=True)
    timed = {row.backend: row.timing.vs_torch for row in rows if row.timing}
    assert set(timed) == {"naive", "im2col", "torch"}
    assert timed["torch"] == 1
    assert all(row.timing is None for row in rows if row.op != "model")


def test_naive_is_skipped_where_it_is_slow(nets):
    rows = run(f"{nets}:Block", "4x8x8", backends=("naive", "torch"), patience=5e-4)
    mine = {row.case: row for row in rows if row.backend == "naive"}
    assert mine["Block.conv"].status == "skipped"
    assert mine["Block.forward() avg_pool2d"].status == "ok"
    assert "Block.conv" in mine["Block (whole model)"].reason


def test_unavailable_backends_are_skipped(nets):
    rows = run(f"{nets}:Line", "1x4x9", backends=())
    skipped = [row for row in rows if row.status == "skipped"]
    assert all(row.reason for row in skipped)
    assert {row.status for row in rows} <= {"ok", "skipped"}


def _planted(monkeypatch, module, name, fault, when=lambda out: True):
    good = getattr(module, name)

    def bad(out, *args, **keywords):
        good(out, *args, **keywords)
        if when(out) and out.dtype == np.float32:  # the reference's float64 stays right
            fault(out)

    bad.__signature__ = __import__("inspect").signature(good)
    monkeypatch.setattr(module, name, bad)


def test_a_fault_is_found_at_its_layer(nets, monkeypatch):
    """One element of the second convolution only, off by a thousandth."""

    def fault(out):
        out.flat[7] += 1e-3

    _planted(monkeypatch, conv, "fprop", fault, lambda out: out.shape[1] == 16)
    rows = run(EXAMPLES / "lenet.py:LeNet", "3x32x32")
    wrong = [row for row in rows if row.status == "wrong"]
    assert [(row.case, row.backend) for row in wrong] == [
        ("LeNet.conv2", "im2col"),
        ("LeNet (whole model)", "im2col"),
    ]
    assert "1 of 1,600 wrong; at [0,0,0,7]" in wrong[0].reason
    assert wrong[1].reason == "LeNet.conv2 is wrong"
    assert "LeNet.conv2: in the whole model" in wrong[0].hint
    assert not any("in the whole model" in row.hint for row in rows if row.backend == "torch")


def test_a_fault_in_a_function_is_found(nets, monkeypatch):
    def fault(out):
        out[...] = np.nan

    _planted(monkeypatch, pool, "avg_pool", fault, lambda out: out.shape[-1] == 1)
    rows = run(f"{nets}:ResNet", "3x10x10")
    wrong = {row.case for row in rows if row.status == "wrong"}
    assert {"ResNet.forward() adaptive_avg_pool2d", "ResNet (whole model)"} <= wrong
    assert not any("conv" in case for case in wrong)


def test_an_exception_in_a_backend_is_a_row(nets, monkeypatch):
    def fault(out):
        raise ZeroDivisionError("planted")

    _planted(monkeypatch, pool, "max_pool", fault)
    rows = run(f"{nets}:ResNet", "3x10x10")
    broken = [row for row in rows if row.status == "error"]
    assert [row.case for row in broken] == ["ResNet.stem.1", "ResNet (whole model)"]
    assert "ZeroDivisionError: planted" in broken[1].reason


def test_another_path_is_wrong(nets):
    rows = run(f"{nets}:Forked", "3x6x6")
    assert [row.status for row in rows if row.backend == "im2col"] == ["ok", "wrong"]
    assert "another path than with torch" in rows[-2].reason


def test_another_shape_is_wrong():
    got, want = torch.zeros(1, 2), torch.zeros(1, 3)
    found = whole.distance((got,), (want,), (want,), "output", "real")
    assert (found.ok, found.kind) == (False, "shape")
    assert "expected [((1, 3), torch.float32)], got [((1, 2), torch.float32)]" in found.reason
    nan = torch.full((1, 3), torch.nan)
    assert whole.distance((nan,), (want,), (want,), "output", "real").max_error is None


ERRORS = [
    ("{}/none.py:Net", "3x8x8", "no file .*none.py"),
    ("{}/nets.py:Lin", "3x8x8", r"nets.py has no 'Lin'; it has Block, .*; did you mean Line\?"),
    ("{}/nets.py", "3x8x8", r"nets.py: name the model, e.g. .*nets.py:Block; it has Block, Res"),
    ("{}/nets.py:", "3x8x8", r"nets.py: name the model, e.g. .*nets.py:Block; it has Block, Res"),
    ("{}/empty.py", "3x8x8", "empty.py:Net; it defines no torch.nn.Module"),
    ("{}/none.py", "3x8x8", "no file .*none.py"),
    ("{}/nets.py:Wrong", None, "how large its input is: add its shape, e.g. --in 1x32x32$"),
    ("{}/nets.py:Line", None, "how large its input is: add its shape, e.g. --in 3x32x32$"),
    ("{}/nets.py:Needs", "3x8x8", r"needs arguments: width, depth; .* def net\(\): return Needs"),
    ("{}/nets.py:Fails", "3x8x8", "cannot be built: KeyError: 'no weights'"),
    ("{}/nets.py:number", "3x8x8", "is a int, not a torch.nn.Module"),
    ("{}/nets.py:relu", "3x8x8", "calls nothing of the convolution family"),
    ("{}/nets.py:Two", "3x8x8", "TypeError: .*missing 1 required positional argument: 'y'"),
    ("{}/broken.py:Net", "3x8x8", r"broken.py cannot be imported: SyntaxError: .*\(line 2\)"),
    ("{}/needy.py:Net", "3x8x8", r"ModuleNotFoundError: No module named 'nosuch' \(line 2\)"),
    ("{}/exits.py:Net", "3x8x8", "cannot be imported: SystemExit: 1"),
    ("{}/empty.py:Net", "3x8x8", "empty.py has no 'Net'; it defines no torch.nn.Module"),
    ("{}/empty.py:Path", "3x8x8", "Path is not a torch.nn.Module"),
    ("{}/empty.py:text", "3x8x8", "returns a str, not a torch.nn.Module"),
    ("nosuch.package:Net", "3x8x8", "module nosuch.package"),
    ("just words", "3x8x8", "is no model; write FILE.py:CLASS"),
    ("{}/nets.py:Line", "3y8", "must be sizes"),
]


@pytest.mark.parametrize(("spec", "shape", "text"), ERRORS)
def test_mistakes_are_one_line(nets, spec, shape, text):
    folder = nets.parent
    (folder / "broken.py").write_text("import torch\nclass Net(:\n")
    (folder / "needy.py").write_text("import torch\nimport nosuch\n")
    (folder / "exits.py").write_text("raise SystemExit(1)\n")
    (folder / "empty.py").write_text("from pathlib import Path\n\n\ndef text():\n    return 'x'\n")
    with pytest.raises(errors.UsageError, match=text) as caught:
        models.compare_model(spec.format(folder), shape)
    assert "\n" not in str(caught.value)


def test_a_shape_that_does_not_fit_quotes_torch(nets):
    with pytest.raises(errors.ShapeError) as caught:
        models.compare_model(f"{nets}:Wrong", "1x28x28")
    assert str(caught.value) == (
        f"{nets}:Wrong on input (1, 1, 28, 28): fc failed, torch says: mat1 and mat2 shapes cannot "
        "be multiplied (1x10816 and 4096x10); before it, forward() max_pool2d gave (1, 64, 13, 13)"
    )


def test_a_file_with_one_class_needs_no_name(nets):
    path = nets.parent / "one.py"
    path.write_text(
        "from torch import nn\n\n\nclass Only(nn.Sequential):\n"
        "    def __init__(self):\n        super().__init__(nn.Conv2d(3, 4, 3))\n\n\n"
        "made = nn.ReLU()\n"
    )
    rows = run(path, "3x8x8")
    assert rows == run(f"{path}:Only", "3x8x8")
    assert names(rows) == ["Only.0", "Only (whole model)"]
    assert rows[0].source == f"{path}:Only"
    path.write_text(path.read_text() + "\n\nclass Another(Only):\n    pass\n")
    with pytest.raises(errors.UsageError, match="it has Only, made, Another"):
        run(path, "3x8x8")


def test_a_picture_is_read_once_for_cases_and_models(tmp_path):
    from PIL import Image

    path = tmp_path / "p.png"
    Image.fromarray(np.full((4, 4, 3), (0, 51, 255), dtype=np.uint8)).save(path)
    made = inputs.picture(path, (2, 3, 2, 5), "float64")
    assert made.shape == (2, 3, 2, 5)
    assert made[:, :, 0, 0].tolist() == [[0.0, 0.2, 1.0]] * 2
    for shape, dtype in (((1, 2, 4, 4), "float32"), ((3, 4), "float32"), ((3, 4, 4), "int64")):
        with pytest.raises(errors.UsageError, match="is no picture"):
            inputs.picture(path, shape, dtype)
    (tmp_path / "text.png").write_text("text")
    for name, reason in (("none.png", "no such file"), ("text.png", "it is no picture")):
        with pytest.raises(errors.UsageError) as caught:
            inputs.picture(tmp_path / name, (3, 4, 4), "float32")
        assert str(caught.value) == f"--image: {tmp_path / name} cannot be read: {reason}"


def test_other_mistakes(nets, tmp_path):
    with pytest.raises(errors.UsageError, match="a model takes float64, float32"):
        models.compare_model(f"{nets}:Line", "1x4x9", dtype="int64")
    with pytest.raises(errors.UsageError, match="--backward"):
        models.compare_model(f"{nets}:Line", "1x4x9", backward=True)
    with pytest.raises(errors.UsageError, match="unknown backend 'nope'"):
        models.compare_model(f"{nets}:Line", "1x4x9", backends=("nope",))
    with pytest.raises(errors.UsageError, match="--image"):
        models.compare_model(f"{nets}:Line", "1x4x9", image=tmp_path / "none.png")
    assert compare.Options().budget > 0


def test_a_net_that_is_shipped_goes_by_its_name():
    """Unless a set of cases has that name: ``compare resnet50`` means the set's layers."""
    assert type(modelfile.load("lenet")).__name__ == "LeNet"
    assert modelfile.is_model("lenet", sets={})
    assert not modelfile.is_model("resnet50", sets={"resnet50": ""})
    assert not modelfile.is_model("lenot", sets={})
