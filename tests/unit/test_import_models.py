"""A trace of torch's own profiler and models of torch's own exporter, as they write them; ONNX
nodes against onnxruntime.
"""

import gzip
import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from refconv import cli, label
from refconv.errors import UnavailableError, UsageError
from refconv.harness import importing

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


class Net(nn.Module):
    """Layers whose padding, output size or windows are easily lost on the way."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, 2, 1)
        self.pool = nn.MaxPool2d(3, 2, 1, ceil_mode=True)
        self.same = nn.Conv2d(8, 8, 4, padding="same", groups=8, bias=False)
        self.up = nn.ConvTranspose2d(8, 4, 3, 2, 1, 1)
        self.mean = nn.AvgPool2d(3, 2, 1, count_include_pad=False)
        self.last = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        x = self.same(self.pool(torch.relu(self.first(x))))
        return self.last(self.mean(self.up(x)))


NET = [
    "conv2d x[1,3,17,19] w[8,3,3,3] b s2 p1",
    "max_pool2d x[1,8,9,10] k3 s2 p1 ceil",
    "conv2d x[1,8,5,6] w[8,1,4,4] p1:2 g8",
    "conv_transpose2d x[1,8,5,6] w[8,4,3,3] b s2 p1 op1",
    "avg_pool2d x[1,4,10,12] k3 s2 p1 exclude_pad",
    "adaptive_avg_pool2d x[1,4,5,6] o1",
]


def labels(made):
    return [label.format(case.problem) for case in made.cases]


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    """A run of two forwards and a backward, and some functions, profiled."""
    from torch.profiler import ProfilerActivity, profile

    warnings.filterwarnings("ignore", message="Using padding='same' with even kernel")
    net, x = Net(), torch.rand(1, 3, 17, 19)
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as run:
        net(x)
        net(x).sum().backward()
        F.conv1d(torch.rand(3, 9).double(), torch.rand(4, 3, 3).double(), padding="valid")
        F.conv2d(torch.rand(1, 2, 9, 9), torch.rand(2, 2, 3, 3), padding="same", dilation=2)
        F.fold(F.unfold(torch.rand(1, 3, 9, 9), 3, stride=2), 9, 3, stride=2)
        F.max_unpool2d(*F.max_pool2d(torch.rand(1, 2, 6, 6), 2, return_indices=True), 2)
        F.max_pool3d(torch.rand(1, 2, 4, 5, 6), (2, 3, 1), 2)
        torch.nn.functional.fractional_max_pool2d(torch.rand(1, 2, 9, 9), 2, output_size=4)
    path = tmp_path_factory.mktemp("trace") / "trace.json"
    run.export_chrome_trace(str(path))
    return path


def test_a_trace_of_torchs_profiler(trace):
    made = importing.load(trace)
    assert made.kind == "torch profiler trace"
    found = labels(made)
    assert found[: len(NET)] == NET
    assert set(found[len(NET) :]) == {
        "conv2d x[1,8,6,7] w[8,1,4,4] p1 g8",  # the backward of "same": torch padded a side before
        "conv1d x[3,9] w[4,3,3] float64",
        "conv2d x[1,2,9,9] w[2,2,3,3] p2 d2",
        "unfold x[1,3,9,9] k3 s2",
        "fold x[1,27,16] o9 k3 s2",
        "max_pool2d x[1,2,6,6] k2",
        "max_unpool2d x[1,2,3,3] o6",
        "max_pool3d x[1,2,4,5,6] k2,3,1 s2",
    }
    # The same problem once, forward and backward, with the time of all its calls.
    assert "aten::conv2d (2 calls)" in made.cases[0].source
    assert "2 forward and 1 backward" in made.cases[0].source
    assert made.cases[0].source.endswith(" ms")
    [refused] = made.refused
    assert refused.where == "aten::fractional_max_pool2d (1 call)"
    assert "no problem for" in refused.reason
    assert " calls, " in made.summary


def test_a_trace_may_be_packed(trace, tmp_path):
    packed = tmp_path / "trace.json.gz"
    packed.write_bytes(gzip.compress(trace.read_bytes()))
    assert labels(importing.load(packed)) == labels(importing.load(trace))


def test_a_trace_without_shapes_says_what_to_do(trace, tmp_path):
    document = json.loads(trace.read_text())
    for event in document["traceEvents"]:
        event.get("args", {}).pop("Input Dims", None)
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps(document))
    with pytest.raises(UsageError, match="record_shapes=True"):
        importing.load(bare)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The net as torch.onnx.export writes it, its batch fixed and open."""
    pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, axes in (("fixed", None), ("open", {"x": {0: "batch"}})):
            torch.onnx.export(
                Net().eval(), torch.rand(1, 3, 17, 19), str(folder / f"{name}.onnx"),
                dynamo=False, input_names=["x"], dynamic_axes=axes,
            )  # fmt: skip
    return folder


def test_a_model_of_torchs_exporter(exported):
    made = importing.load(exported / "fixed.onnx")
    assert made.kind == "ONNX model"
    assert labels(made) == NET
    assert [case.name for case in made.cases][:2] == ["first.Conv", "pool.MaxPool"]
    assert "node /first/Conv" in made.cases[0].source
    assert "imported 6 of 6" in made.summary


def test_an_open_shape_is_listed_and_can_be_given(exported):
    made = importing.load(exported / "open.onnx")
    assert made.cases == []
    assert len(made.refused) == 6
    assert "the shape of 'x' is open: ['batch', 3, 17, 19]" in made.refused[0].reason
    assert "--in 1x3x224x224" in made.refused[0].reason
    given = importing.load(exported / "open.onnx", in_shape="2x3x17x19")
    assert labels(given) == [text.replace("x[1,", "x[2,") for text in NET]
    with pytest.raises(UsageError, match="has 4 axes"):
        importing.load(exported / "open.onnx", in_shape="3x17x19")


def test_without_onnx_it_is_one_line_and_exit_3(exported, monkeypatch, capfd):
    from refconv.harness.importing import onnx_model

    monkeypatch.setattr(onnx_model, "find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match="pip install onnx"):
        importing.load(exported / "fixed.onnx")
    assert cli.main(["compare", "--from", str(exported / "fixed.onnx")]) == 3
    assert capfd.readouterr().err.count("\n") == 1


def test_no_model_is_one_line(tmp_path):
    pytest.importorskip("onnx")
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x07\x00\xff damaged")
    with pytest.raises(UsageError, match=r"no ONNX model"):
        importing.load(path)


X = (1, 4, 9, 10)
NODES = [
    ("Conv", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, (3, 4, 3, 2), ""),
    ("Conv", {"auto_pad": "SAME_LOWER", "strides": [1, 1]}, (3, 4, 2, 4), ""),
    ("Conv", {"auto_pad": "VALID", "dilations": [2, 1], "group": 2}, (6, 2, 3, 3), ""),
    ("Conv", {"pads": [0, 2, 1, 0], "strides": [2, 1]}, (3, 4, 3, 3), ""),
    ("ConvTranspose", {"pads": [1, 1, 0, 1], "strides": [2, 2]}, (4, 3, 3, 3), ""),
    ("ConvTranspose", {"output_shape": [18, 20], "strides": [2, 2]}, (4, 3, 3, 3), ""),
    ("ConvTranspose", {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, (4, 3, 3, 3), ""),
    ("ConvTranspose", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, (4, 3, 3, 3), "differently"),
    ("ConvTranspose", {"pads": [0, 0, 2, 0]}, (4, 3, 3, 3), "cut the sides differently"),
    ("MaxPool", {"kernel_shape": [3, 2], "auto_pad": "SAME_UPPER", "strides": [2, 2]}, None, ""),
    ("MaxPool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "dilations": [2, 1]}, None, ""),
    ("MaxPool", {"kernel_shape": [2, 3], "ceil_mode": 1, "strides": [2, 2]}, None, ""),
    ("MaxPool", {"kernel_shape": [3, 3], "pads": [0, 0, 2, 2]}, None, "pads both sides alike"),
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}, None, ""),
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1},
     None, ""),
    ("AveragePool", {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER", "strides": [2, 2]},
     None, ""),
    ("AveragePool", {"kernel_shape": [2, 3], "strides": [2, 2], "pads": [0, 0, 1, 1],
                     "count_include_pad": 1}, None, "pads both sides alike"),
    ("LpPool", {"kernel_shape": [2, 3], "strides": [2, 1], "p": 2}, None, ""),
    ("LpPool", {"kernel_shape": [2, 3], "p": 3}, None, "for even p only"),
    ("GlobalAveragePool", {}, None, ""),
    ("GlobalMaxPool", {}, None, ""),
    ("GlobalLpPool", {}, None, ""),
    ("MaxRoiPool", {"pooled_shape": [2, 2]}, (1, 5), "no problem for MaxRoiPool"),
]  # fmt: skip


@pytest.mark.parametrize(("op", "attributes", "weight", "refusal"), NODES)
def test_a_node_is_what_onnxruntime_computes(tmp_path, op, attributes, weight, refusal):
    onnx = pytest.importorskip("onnx")
    from refconv.oracle import calls

    names = ["x"] if weight is None else ["x", "w"]
    rng = np.random.default_rng(0)
    arrays = {"x": rng.random(X, "f4"), "w": rng.random(weight or (1,), "f4")}
    node = onnx.helper.make_node(op, names, ["y"], name="it", **attributes)
    values = [onnx.helper.make_tensor_value_info(n, 1, arrays[n].shape) for n in names]
    y = onnx.helper.make_tensor_value_info("y", 1, None)
    graph = onnx.helper.make_graph([node], "g", values, [y])
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )
    path = Path(tmp_path / "node.onnx")
    onnx.save(model, path)
    made = importing.load(path)
    if refusal:
        [refused] = made.refused
        assert refused.where == "node it"
        assert refusal in refused.reason
        return
    [case] = made.cases
    session = pytest.importorskip("onnxruntime").InferenceSession(
        str(path), providers=["CPUExecutionProvider"]
    )
    [want] = session.run(None, {n: arrays[n] for n in names})
    given = dict(zip(["input", "weight"], (torch.from_numpy(arrays[n]) for n in names),
                     strict=False))  # fmt: skip
    got = calls.bind(F, case.problem, given)()
    assert tuple(got.shape) == want.shape
    np.testing.assert_allclose(got.numpy(), want, rtol=2e-5)


def test_compare_says_what_was_not_imported(tmp_path, capfd):
    path = tmp_path / "shapes_pool_own"
    path.write_text('ic4ih9kh3sh2n"own:pool"\nic4ih13oh12_kh3\n')
    quick = ["--no-time", "--no-records", "--backends", "im2col,torch"]
    assert cli.main(["compare", "--from", str(path), *quick]) == 0
    out, err = capfd.readouterr()
    summary = "imported 1 of 2 from shapes_pool_own (benchdnn batch file); 1 not: line 2"
    assert out.startswith("✔ all 2 agree")
    assert f"\n  {summary}\n" in out
    assert err.startswith(f"{summary}\n  line 2: ic4ih13oh12_kh3: benchdnn: wants [12, 12]")
    assert cli.main(["compare", "--from", str(path), *quick, "--json"]) == 0
    out, _ = capfd.readouterr()
    assert json.loads(out)["imported"] == [summary]
    assert json.loads(out)["results"][0]["case"] == "own:pool"


def test_bench_takes_them_too(tmp_path, capfd):
    path = tmp_path / "commands.txt"
    path.write_text("MIOpenDriver conv -n 1 -c 2 -H 5 -W 5 -k 2\n")
    assert cli.main(["bench", "--from", str(path), "--only", "nothing", "--no-records"]) == 2
    assert "fits none of 1 cases" in capfd.readouterr().err
