"""explain: whole models, row by row, and why the broken ones stop."""

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from rich.padding import Padding
from torch import nn

import refconv as rc
from refconv.cli import main
from refconv.errors import UsageError
from refconv.learn import explain_source
from refconv.learn.explain_show import rich_table
from refconv.learn.explain_source import from_text
from refconv.nets import nets

FILE = Path(__file__).with_name("nets_to_explain.py")

LENET = """\
✔ LeNet: 3x32x32 -> 10, 8 rows
  #  op               in        out       arithmetic              left over  params  RF  where
  1  conv2d 3->6 k5   3x32x32   6x28x28   (32+0-5)/1+1 = 28               0     456   5  conv1
  2  max_pool2d 2     6x28x28   6x14x14   (28-2)/2+1 = 14                 0       0   6  forward()
  3  conv2d 6->16 k5  6x14x14   16x10x10  (14+0-5)/1+1 = 10               0   2,416  14  conv2
  4  max_pool2d 2     16x10x10  16x5x5    (10-2)/2+1 = 5                  0       0  16  forward()
  5  view             16x5x5    400       16*5*5 = 400                    -       0      forward()
  6  linear 400->120  400       120       in_features = 16*5*5 ✔          -  48,120      fc1
  7  linear 120->84   120       84        in_features = 120 ✔             -  10,164      fc2
  8  linear 84->10    84        10        in_features = 84 ✔              -     850      fc3
  total 62,006 params · 651,720 MAC · 1.30 MFLOP (2 per MAC)
  not shown, as they leave the shape as it is: relu ×4 (--all shows them)
  the input has no batch axis: taken as a batch of one, which is not shown"""


def broken(name, *shapes):
    return rc.explain(f"{FILE}:{name}", *shapes)


def ops(found):
    return [row.op for row in found.rows.shown]


def sizes(found):
    return ["x".join(map(str, row.output[1:])) for row in found.rows.shown]


def test_lenet_row_by_row():
    assert rc.explain("lenet", "3x32x32").text == LENET


def test_mnist_says_where_9216_comes_from_and_what_keeps_its_shape():
    found = rc.explain("mnist", "1x28x28")
    assert sizes(found) == ["32x26x26", "64x24x24", "64x12x12", "9216", "128", "10"]
    assert found.rows.shown[3].arithmetic == "64*12*12 = 9216"
    assert found.rows.quiet == {"relu": 3, "dropout": 2, "log_softmax": 1}
    assert found.rows.params == 1_199_882
    every = rc.explain("mnist", "1x28x28", every=True)
    assert [row[1] for row in every.grid().rows].count("dropout") == 2
    assert len(every.grid().rows) == 12


def test_netd_says_what_the_paper_leaves_out():
    found = rc.explain("netd")
    convs = [row for row in found.rows.shown if row.name == "conv2d"]
    assert ["x".join(map(str, row.output[1:])) for row in convs] == [
        "64x96x96", "64x48x48", "128x48x48", "128x24x24", "256x24x24", "256x12x12", "512x12x12",
        "512x6x6",
    ]  # fmt: skip
    assert found.rows.params == 26_000_705
    assert found.rows.params - found.rows.norms == 25_996_993
    assert "parameters without those of normalisation: 25,996,993" in found.text
    flat, first, *_, view, squeeze = found.rows.shown[-5:]
    assert flat.arithmetic == "512*6*6 = 18432"
    assert first.op == "linear 18432->1024"
    assert (view.arithmetic, squeeze.arithmetic) == ("[N,1] -> [N,1]", "[N,1] -> [N]")


def test_resnet50_joins_its_branches():
    found = rc.explain("resnet50")
    r = found.rows
    assert r.params == 25_557_032
    assert r.macs == 4_089_184_256
    assert sum(row.name == "conv2d" for row in r.shown) == 53
    adds = [row for row in r.shown if row.name == "add"]
    assert len(adds) == 16
    assert adds[0].reads == (9, 11)  # the projection of the first block
    assert adds[1].arithmetic == "row 18 + row 12, same shape"
    assert sizes(found)[-3:] == ["2048x1x1", "2048", "1000"]
    assert r.shown[2].left_over == (1, 1)
    assert found.rows.shown[9].where == "layer1.0.downsample.0"


def test_a_u_net_goes_up_again_beside_what_went_down():
    found = rc.explain("unet")
    assert found.rows.params == 116_770
    up = found.rows.shown[8]
    assert (up.op, up.arithmetic) == (
        "conv_transpose2d 64->32 k2 s2",
        "(16-1)*2-2*0+1*(2-1)+0+1 = 32",
    )
    cats = [row for row in found.rows.shown if row.name == "cat"]
    assert [row.arithmetic for row in cats] == [
        "32 + 32 = 64 channels (row 5, row 9)",
        "16 + 16 = 32 channels (row 2, row 13)",
    ]
    odd = rc.explain("unet", "1x70x70")
    assert odd.stop.reason.startswith("cat got 32x35x35 (conv2d in down2.2) and 32x34x34")
    assert "a stride of 4 in all does not divide 70x70: an input of 72x72 fits" in odd.stop.fix
    assert rc.explain("unet", "1x72x72").ok


def test_an_inception_block_has_four_branches():
    found = rc.explain("inception")
    last = found.rows.shown[-1]
    assert last.arithmetic == "64 + 128 + 32 + 32 = 256 channels (row 1, row 3, row 5, row 7)"
    assert last.output == (1, 256, 28, 28)
    assert found.rows.params == 163_696
    assert [row.reads for row in found.rows.shown[:4]] == [(0,), (0,), (2,), (0,)]
    assert last.field.size == 5


@pytest.mark.parametrize("name", nets())
def test_rows_and_parameters_are_torchs(name):
    """The last row's shape, and the number of parameters, are those of the model itself."""
    file, cls, shape = nets()[name]
    found = rc.explain(f"{file}:{cls}", shape)
    model = explain_source.source(name).make("meta")
    x = torch.empty((1, *map(int, shape.split("x"))), device="meta")
    assert found.outputs[0].shape == tuple(model(x).shape)
    assert found.rows.params == sum(p.numel() for p in model.parameters())
    assert sum(row.params for row in found.rows.all) == found.rows.params


BROKEN = {  # net, inputs → rows before it stops, where, the reason, the fix, torch's words
    ("WrongFlatten", "1x28x28"): (
        ["32x26x26", "64x24x24", "64x12x12", "9216"], "fc1",
        "linear 4096->128 got 9216 = 64*12*12",
        "change to nn.Linear(9216,128) or nn.LazyLinear(128)", "mat1 and mat2 shapes",
    ),
    ("WrongView", "3x32x32"): (
        ["16x28x28", "16x14x14"], "forward()",
        "view(-1, 400): 3136 numbers are no multiple of 400; one sample has 3136 = 16*14*14",
        "change to view(-1, 3136) or torch.flatten(x, 1)", "shape '[-1, 400]' is invalid",
    ),
    ("NoFlatten", "3x32x32"): (
        ["16x28x28", "16x14x14"], "fc", "linear 3136->10 got 14, the last axis of 16x14x14",
        "flatten first: torch.flatten(x, 1) gives 16*14*14 = 3136", "mat1 and mat2 shapes",
    ),
    ("WrongChannels", "3x32x32"): (
        ["6x28x28", "6x14x14"], "conv2", "conv2d 8->16 got 6 channels: 6x14x14",
        "change conv2 to nn.Conv2d(6, 16, 5, …), or conv1 (conv2d) to give 8 channels",
        "expected input[1, 6, 14, 14] to have 8 channels, but got 6",
    ),
    ("LargeKernel", "3x10x10"): (
        ["6x6x6", "6x3x3"], "conv2", "extent 1*(5-1)+1 = 5, input 3+0+0 = 3",
        "padding=1 or a kernel of at most 3 fits, or a larger input: at least 14x14",
        "Kernel size can't be greater than actual input size",
    ),
    ("SameStride", "3x32x32"): (
        [], "stem",
        "nn.Conv2d(3, 8, 3, stride=2, padding='same'): padding='same' needs stride 1, got 2",
        "padding=1 gives ceil(size / stride)", "not supported for strided convolutions",
    ),
    ("SameStrideCalled", "3x32x32"): (
        [], "forward()", "padding='same' needs stride 1", "padding=1 gives", "not supported",
    ),
    ("Volume", "20x16x50x10x20"): (
        [], "conv", "got 5-D: conv3d takes it", "change conv to nn.Conv3d(16, 33, 3)",
        "Expected 3D (unbatched) or 4D (batched) input to conv2d",
    ),
    ("WrongNorm", "3x32x32"): (
        ["8x30x30"], "bn", "batch_norm of 16 channels got 8", "change bn to nn.BatchNorm2d(8)",
        "running_mean should contain 8 elements not 16",
    ),
    ("Skip", "3x32x32"): (
        ["8x16x16"], "forward()", "add got 3x32x32 (the input) and 8x16x16 (conv2d in down)",
        "nn.Conv2d(3, 8, 1, stride=2) on 3x32x32 makes it 8x16x16", "must match the size",
    ),
    ("Raises", "3x32x32"): (
        ["4x30x30"], "forward()", "forward() raised ValueError: 7 columns, please", "", "",
    ),
    ("Attention", "6"): (
        [], "embed", "embedding takes indices, got float32", "say --in 6:int64", "Expected tensor",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "shape"), BROKEN)
def test_a_broken_net_stops_with_its_rows_the_reason_and_the_fix(name, shape):
    rows, where, reason, fix, torch_says = BROKEN[name, shape]
    found = broken(name, shape)
    assert not found.ok
    assert sizes(found) == rows
    assert found.stop.where == where
    assert reason in found.stop.reason
    assert fix in found.stop.fix
    assert torch_says in found.stop.torch
    first, *others = found.text.splitlines()
    assert first.startswith(f"✘ {name} on {shape} stops ")
    assert any(line.startswith(f"✘ {found.stop.reason}") for line in others)


def test_the_smallest_input_is_the_smallest():
    assert broken("LargeKernel", "3x14x14").ok
    assert not broken("LargeKernel", "3x13x13").ok


def test_nets_of_every_kind_have_rows():
    found = broken("Shuffle", "3x8x8", "10")
    assert ops(found)[:6] == [
        "conv2d 3->4 k3 p1 (lazy)", "mul", "prelu", "interpolate bilinear", "pixel_shuffle 2",
        "interpolate nearest",
    ]  # fmt: skip
    assert [row.params for row in found.rows.shown][:3] == [112, 4, 1]
    assert [row.field.size for row in found.rows.shown][:6] == [3, 3, 3, 4, 4, 4]
    assert found.rows.unused == {"spare": 56}
    assert [y.shape for y in found.outputs] == [(1, 64, 64, 1), (1, 1)]
    found = broken("Attention", "6:int64")
    assert found.rows.params == sum(row.params for row in found.rows.all)
    assert found.rows.uncounted == {"multi_head_attention_forward": 1}
    assert "parameters shared with an earlier row" in found.text
    found = broken("Custom", "3x20")
    assert found.rows.shown[-2].params == 300
    assert found.rows.uncounted == {"lstm": 1}
    assert "one sample becomes 2 rows" in broken("Grown", "4x10x10").text
    found = broken("Tokens", "3x32x32")
    assert [(row.op, row.params) for row in found.rows.shown] == [
        ("conv2d 3->8 k8 s8", 1536), ("max_pool2d 2", 0), ("flatten", 0), ("cat dim=2", 8),
        ("add", 40), ("conv1d 8->3 k1", 30),
    ]  # fmt: skip
    assert [row.field.size for row in found.rows.shown] == [8, 16, None, None, None, None]
    assert found.rows.shown[2].field.reason
    assert found.rows.shown[4].arithmetic == "row 4 + parameters"
    found = rc.explain("nn.TransformerEncoderLayer(16, 2, 8)", "5x1x16")  # no picture: no batch
    assert (found.ok, found.batched, found.outputs[0].shape) == (True, False, (5, 1, 16))
    found = rc.explain("nn.Conv2d(3,6,5,padding=2,padding_mode='circular')", "3x8x8")
    assert [row.name for row in found.rows.shown] == ["pad", "conv2d"]
    found = broken("instance", "2x3x8x8")
    assert not found.batched
    assert "for a batch of 2" in found.total
    assert broken("built", "3x32x32").rows.norms == 16


def test_a_net_that_needs_numbers_is_run_on_numbers_and_says_so():
    found = broken("Sampled", "3x32x32")
    assert found.ok
    assert found.values == "nonzero in forward()"
    assert "run on drawn numbers, as nonzero in forward() looks at them" in found.text
    found = broken("NumPy", "3x8x8")
    assert ops(found) == ["Twice (opaque)", "conv2d 3->4 k3"]
    assert found.rows.uncounted == {"Twice": 1}


def test_a_model_in_hand_is_left_as_it_is():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(), nn.Flatten())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = rc.explain(model, (3, 8, 8))
    assert found.outputs[0].shape == (1, 288)
    assert model.training
    assert all(not p.is_meta for p in model.parameters())
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert not torch.nn.modules.module._global_forward_hooks
    weightless = nn.Sequential(nn.Conv2d(3, 8, 3, device="meta"), nn.Dropout())
    assert rc.explain(weightless, (3, 8, 8)).ok
    assert weightless[1].training


def test_sequential_as_text_is_parsed_and_never_evaluated():
    text = "nn.Sequential(nn.Conv2d(1,64,4,2,1), nn.ReLU(), nn.Flatten(), nn.Linear(64*14*14,10))"
    found = rc.explain(text, "1x28x28")
    assert sizes(found) == ["64x14x14", "12544", "10"]
    assert found.rows.params == sum(p.numel() for p in from_text(text).parameters())
    text = "nn.Sequential(nn.Conv2d(3,8,3,2,padding='same'), nn.ReLU())"
    found = rc.explain(text, "3x8x8")
    assert "padding='same' needs stride 1, got 2; padding=1 gives" in found.stop.line
    for bad in (
        "nn.Sequential(__import__('os').system('true'))",
        "nn.Sequential(nn.functional.relu(1))",
        "nn.Sequential(nn.Linear(open('x'),1))",
        "nn.Conv9d(1)",
        "os.system('true')",
        "os.Linear(192, 1)",
        "nn.Sequential(**{})",
        "nn.Linear(10)",
        "nn.Sequential(nn.Linear(9**9**9, 1))",
    ):
        with pytest.raises(UsageError):
            rc.explain(bad, "3x8x8")


def _terminal(found, width):
    """The widest line of a model's table on a terminal, in which nothing is broken or lost."""
    console = Console(width=width, file=io.StringIO())
    grid = found.parts(width)[1]
    console.print(Padding(rich_table(grid, width - 2), (0, 0, 0, 2), expand=False))
    lines = console.file.getvalue().rstrip().splitlines()
    assert len(lines) == len(grid.rows) + 1
    assert all(cell in line for row, line in zip(grid.rows, lines[1:], strict=True) for cell in row)
    return max(len(line.rstrip()) for line in lines)


def test_a_model_is_shown_everywhere(capsys):
    found = rc.explain("lenet")
    assert found._repr_html_().count("<tr>") == 9
    assert "| 1 | conv2d 3->6 k5 | 3x32x32 |" in found.markdown()
    narrow = found.parts(80)[1]
    assert "in" not in narrow.heads
    assert _terminal(found, 80) <= 80
    assert _terminal(found, 100) <= 100
    assert main(["explain", "lenet", "--in", "3x32x32", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "refconv.explain/1"
    assert document["macs"] == document["macs_inside"] == 651_720
    assert document["rows"][0]["receptive_field"] == 5
    assert main(["explain", f"{FILE}:WrongFlatten", "--in", "1x28x28", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["error"]["fix"] == "change to nn.Linear(9216,128) or nn.LazyLinear(128)"
    assert main(["explain", "lenet", "--macs"]) == 0
    assert "352,800" in capsys.readouterr().out


class Canvas(nn.Module):
    """The picture is put on a canvas, as detectors do, and as slow padding does."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1)

    def forward(self, x):
        large = torch.zeros(x.shape[0], 3, 12, 12)
        for image, place in zip(x, large, strict=True):
            place[:, 2:10, 2:10].copy_(image)
        y = self.a(large)
        y[:, 0] = 0
        again = x.new_zeros(y.shape)
        again[:, 1:] = y[:, 1:]
        return self.b(again)


def test_what_is_written_in_place_comes_from_the_input():
    found = rc.explain(Canvas(), "3x8x8", macs=True).rows
    assert found.macs == 10 * 10 * (27 * 8 + 8 * 4)
    names = [row.name for row in found.shown]
    assert names[-4:] == ["conv2d", "getitem", "setitem", "conv2d"]
    assert [row.op for row in found.all if row.quiet] == ["x[…] = …"]
    assert found.shown[-1].reads == (found.shown[-2].number,)


def test_a_model_needs_the_shape_of_its_input():
    with pytest.raises(UsageError, match=r"add its shape, e.g. --in 3x32x32"):
        rc.explain(f"{FILE}:built")
