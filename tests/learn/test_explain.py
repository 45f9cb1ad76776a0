"""explain: one layer, the pages of words, the command."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import refconv as rc
from refconv.cli import main
from refconv.errors import UsageError
from refconv.label import read
from refconv.learn.explain_show import Grid
from refconv.learn.explain_words import FAMILIES, TOPICS, family


def facts(found):
    return dict(fact for fact in found.facts if fact[0])


def cli(capsys, *words):
    code = main(["explain", *words])
    out, err = capsys.readouterr()
    assert not err, err
    return code, out


LAYERS = {  # spec, input → facts and what its arguments mean
    ("nn.Conv2d(3,6,5)", None): {
        "filters": "6 of 3x5x5 = 18 two-dimensional sub-kernels, 3 in each filter",
        "weight": "[6,3,5,5] = 450 numbers",
        "params": "75*6+6 = 456",
    },
    ("nn.Conv2d(1,64,4,2,1)", None): {"filters": "64 of 1x4x4"},
    ("nn.Conv2d(64,128,4,2,1)", "64x48x48"): {
        "filters": "128 of 64x4x4 = 8,192 two-dimensional sub-kernels, 64 in each filter",
        "params": "1024*128+128 = 131,200",
        "output": "(48+2*1-4)/2+1 = 24",
        "wiring": "groups=1: every filter sees all 64 input channels",
    },
    ("nn.Conv2d(8,16,3,dilation=2,groups=4)", "8x10x10"): {
        "wiring": "groups=4: 4 sets that do not meet; in each, 4 filters see 2 of the 8 input "
        "channels",
        "output": "(10+0-2*(3-1)-1)/1+1 = 6",
        "sees": "5, stride 1 (receptive field)",
    },
    ("nn.Conv2d(32,32,3,groups=32)", None): {
        "wiring": "groups=32: depthwise, one filter sees each input channel and no other"
    },
    ("nn.Conv2d(1,32,5,1,2)", "1x28x28"): {
        "params": "25*32+32 = 832",
        "output": "(28+2*2-5)/1+1 = 28",
    },
    ("nn.ConvTranspose2d(16,8,4,2,1)", "16x18x18"): {
        "output": "(18-1)*2-2*1+1*(4-1)+0+1 = 36",
        "weight": "[16,8,4,4] = 2,048 numbers",
    },
    ("nn.MaxPool2d(2)", "64x24x24"): {"output": "(24-2)/2+1 = 12"},
    ("mb1ic6ih14oc16kh5", None): {"output": "(14+0-5)/1+1 = 10"},
    ("conv2d x[1,6,14,14] w[16,6,5,5] b", None): {"params": "150*16+16 = 2,416"},
    ("F.conv1d(x[20,16,50],w[33,16,3])", None): {"output": "(50+0-3)/1+1 = 48"},
}


@pytest.mark.parametrize(("spec", "given"), LAYERS)
def test_a_layer_says_what_follows_from_its_arguments(spec, given):
    found = rc.explain(spec, *([given] if given else []))
    assert found.ok
    assert facts(found).items() >= LAYERS[spec, given].items()


CODE = [  # constructor, input
    ("Conv2d(4, 6, 3, stride=2, padding=1)", (4, 9, 11)),
    ("Conv3d(4, 6, 3, groups=2)", (4, 5, 6, 7)),
    ("ConvTranspose2d(4, 6, 3, stride=2, output_padding=1)", (4, 5, 6)),
    ("Conv1d(4, 6, 4, padding='same')", (4, 10)),
    ("AvgPool2d(3, 2, 1, ceil_mode=True)", (4, 9, 12)),
    ("AdaptiveMaxPool2d(3)", (4, 9, 12)),
]


@pytest.mark.parametrize(("code", "shape"), CODE, ids=[code for code, _ in CODE])
def test_a_layer_is_torchs_layer(code, shape):
    """Shape, parameters and weight agree with the module that torch makes."""
    module = eval(f"nn.{code}", {"nn": nn})
    found = rc.explain(f"nn.{code}", shape).as_dict()
    assert found["output"] == list(module(torch.zeros(shape)).shape)
    assert found["params"] == sum(p.numel() for p in module.parameters())
    if "Conv" in code:
        assert found["weight"] == list(module.weight.shape)
        assert found["arguments"]["stride"] == str(module.stride[0])


@pytest.mark.parametrize(
    ("spec", "size"),
    [
        ("nn.Conv2d(3,6,5,2,1)", 31),
        ("nn.Conv2d(3,6,5)", 31),
        ("nn.ConvTranspose2d(3,6,4,2,1)", 9),
        ("nn.MaxPool2d(3,2)", 9),
    ],
)
def test_the_rule_without_a_size_is_the_rule(spec, size):
    """``H -> floor((H-3)/2)+1`` gives what the layer gives on any size."""
    rule = next(text for _, text in rc.explain(spec).facts if text.startswith("H -> "))
    told = eval(rule.partition("-> ")[2], {"floor": lambda x: x // 1, "H": size})
    problem = read(spec, in_shape=(3, size, size))
    assert told == problem.out_size[0]


REFUSED = {  # spec, input → the rule, the fix, a spec that the fix leads to
    ("F.conv2d(x[20,16,50,10,20],w[33,16,3,3,3])", None): (
        "got 5-D",
        "F.conv3d(x[20,16,50,10,20],w[33,16,3,3,3]) takes it: 20x16x50x10x20 -> 20x33x48x8x18",
    ),
    ("nn.Conv2d(16,33,3)", "20x16x50x10x20"): ("got 5-D", "nn.Conv3d(16,33,3) takes it"),
    ("nn.Conv2d(64,64,4,2,padding='same')", "64x96x96"): (
        "padding='same' needs stride 1",
        "padding=1 gives ceil(96x96 / stride) = 48x48",
    ),
    ("nn.Conv2d(64,64,4,1,padding=1,dilation=3)", "64x6x6"): (
        "larger than the padded input",
        "padding=2 or a kernel of at most 3 fits",
    ),
    ("nn.Conv2d(3,8,2,2,padding='same')", "3x7x7"): (
        "padding='same' needs stride 1",
        "nn.ZeroPad2d((0, 1, 0, 1)) and padding=0 give ceil(7x7 / stride) = 4x4",
    ),
    ("nn.Conv2d(64,64,4,2,padding='same')", None): ("needs stride 1", "depends on the size"),
    ("nn.Conv2d(64,64,3,2,padding='same')", None): ("needs stride 1", "padding=1 gives ceil"),
    ("nn.Conv2d(1,32,5)", "28x28x1"): ("input channels", "give 1x28x28"),
    ("nn.Conv2d(1,32,5)", "28x28"): ("got 2-D", "a channel axis is missing: 1x28x28"),
    ("nn.Conv2d(3,32,5)", "4x28x28"): ("input channels", "in_channels=4"),
}


@pytest.mark.parametrize(("spec", "given"), REFUSED)
def test_a_layer_that_cannot_be_says_the_rule_and_the_fix(spec, given):
    rule, fix = REFUSED[spec, given]
    found = rc.explain(spec, *([given] if given else []))
    assert not found.ok
    assert rule in found.reason
    assert fix in found.fix
    with pytest.raises(Exception, match=r".") as refused:  # torch refuses as well
        _torch(spec, given)
    assert isinstance(refused.value, RuntimeError | ValueError)


def _torch(spec, given):
    shape = [int(n) for n in given.split("x")] if given else [64, 96, 96]
    if spec.startswith("F."):
        return F.conv2d(torch.zeros(1, 16, 5, 5, 5), torch.zeros(33, 16, 3, 3, 3))
    return eval(spec, {"nn": nn})(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(7, 7), (8, 9), (5, 12)])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (4, 2), (5, 3), (4, 3)])
def test_the_zeros_for_same_with_a_stride_give_what_they_say(kernel, stride, shape):
    h, w = shape
    fix = rc.explain(f"nn.Conv2d(3,8,{kernel},{stride},padding='same')", (3, h, w)).fix
    before, _, told = fix.partition(" give")
    zeros = eval(before.partition("(")[2].partition(")) ")[0] + ")") if "Pad" in before else None
    x = torch.zeros(1, 3, h, w)
    if zeros is None:
        y = F.conv2d(x, torch.zeros(8, 3, kernel, kernel), stride=stride, padding=_number(before))
    else:
        y = F.conv2d(F.pad(x, zeros), torch.zeros(8, 3, kernel, kernel), stride=stride)
    assert list(y.shape[2:]) == [-(-h // stride), -(-w // stride)]
    assert f"= {y.shape[2]}x{y.shape[3]}" in told


def _number(text):
    found = eval(text.partition("=")[2])
    return found if isinstance(found, int) else tuple(found)


def test_a_question_goes_to_the_solver(capsys):
    code, out = cli(
        capsys, "nn.Conv2d(64,64,4,2,padding=?)", "--in", "64x96x96", "--out", "64x48x48"
    )
    assert code == 0
    assert out.startswith("✔ padding = 1 (the only answer)")
    code, out = cli(
        capsys, "nn.Conv2d(64,64,4,1,padding=?)", "--in", "64x32x32", "--out", "64x32x32"
    )
    assert code == 0
    assert "(1, 2)" in out.splitlines()[0]
    code, out = cli(capsys, "nn.Conv2d(3,8,3,1,padding=?)", "--in", "3x32x32", "--out", "8x5x5")
    assert code == 1
    assert out.startswith("✘")


def test_the_words_are_right():
    words = {topic: make().text for topic, make in TOPICS.items()}
    assert "chosen by the designer, not computed" in words["glossary"]
    assert "simple and full agree when dilation is 1" in words["formula"]
    for notation in ("torch", "cs231n", "d2l", "simple", "full"):
        assert notation in words["formula"]
    x, w = torch.zeros(2, 3, 4, 5), torch.zeros(1, 3, 2, 2, requires_grad=True)
    assert str(x.stride()) in words["layout"]
    assert str(x.to(memory_format=torch.channels_last).stride()) in words["layout"]
    assert type(F.conv2d(x, w).grad_fn).__name__ in words["nn-vs-f"]
    assert type(nn.Conv2d(3, 1, 2)(x).grad_fn).__name__ in words["nn-vs-f"]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_has_the_shapes_that_torch_gives(name):
    text = family(name).text
    for code in FAMILIES[name]:
        module, _, shape = code.partition("(x[")
        sizes = [int(n) for n in shape.rstrip("])").split(",")]
        y = eval(module, {"nn": nn})(torch.zeros(sizes))
        assert f"{'x'.join(map(str, sizes))} -> {'x'.join(map(str, y.shape))}" in text
    with pytest.raises(UsageError, match="did you mean conv"):
        family("convs")


def test_it_is_shown_everywhere(capsys, tmp_path):
    found = rc.explain("nn.Conv2d(3,6,5)", "3x32x32")
    assert repr(found) == str(found) == found.text
    html = found._repr_html_()
    assert html.startswith('<div style="overflow-x:auto"><div')
    assert "<td" in html
    from rich.console import Console

    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(found)
    assert "[6,3,5,5] = 450 numbers" in console.export_text()
    code, out = cli(capsys, "nn.Conv2d(3,6,5)", "--in", "3x32x32", "--json")
    document = json.loads(out)
    assert document["schema"] == "refconv.explain/1"
    assert (document["exit_code"], document["params"], document["output"]) == (0, 456, [6, 28, 28])
    assert document == json.loads(out) | found.as_dict()
    file = tmp_path / "layer.md"
    code, out = cli(capsys, "nn.Conv2d(3,6,5)", "--md", str(file))
    assert "| weight | [6,3,5,5] = 450 numbers |" in file.read_text()
    assert code == 0
    code, out = cli(capsys, "--glossary", "--md")
    assert "| :-- | :-- | :-- |" in out


def test_no_line_of_a_layer_ends_in_spaces_and_the_first_is_short(capsys):
    for words in (["nn.Conv2d(64,128,4,2,1)"], ["--nn-vs-f"], ["--formula"], ["--layout"]):
        lines = cli(capsys, *words)[1].splitlines()
        assert len(lines[0]) <= 100
        assert all(line == line.rstrip() for line in lines)


def test_a_wrong_command_is_one_line(capsys):
    for words in (
        [],
        ["lenet", "--formula"],
        ["vgg16"],
        ["nn.Conv2d(3,6,5)", "--out", "6x28x28"],
        ["nn.Conv2d(3,6,5)", "--in", "3x8x8", "--in", "3x8x8"],
        ["no_such_net"],
        ["nn.Conv2d(3,6)"],
        ["lenet", "--json", "--md"],
    ):
        assert main(["explain", *words]) == 2, words
        out, err = capsys.readouterr()
        assert not out
        assert err.startswith("refconv: ")
        assert len(err.splitlines()) == 1


def test_a_layer_needs_no_torch():
    code = (
        "import sys; from refconv.cli import main; "
        "assert main(['explain', 'nn.Conv2d(64,128,4,2,1)', '--in', '64x48x48']) == 0; "
        "assert main(['explain', 'cs231n']) == 0; "
        "assert main(['explain', '--formula']) == 0; "
        "assert not {'torch', 'numba', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_case_of_a_set_is_a_layer():
    assert rc.explain("cs231n").problem.output_shape == (1, 2, 3, 3)
    assert rc.explain("resnet50:conv1").as_dict()["output"] == [1, 64, 112, 112]
    problem = read("conv2d x[1,3,8,8] w[4,3,3,3]")
    assert rc.explain(problem).problem == problem


def test_a_grid_is_lined_up():
    grid = Grid(("a", "n"), [("x", "1"), ("yy", "10")], right=(1,))
    assert grid.lines() == ["a    n", "x    1", "yy  10"]
    assert replace(grid, rows=[]).lines() == ["a  n"]
