"""What an audit shows: the table, the documents, the command; and a ResNet-50 in time."""

import io
import json
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

from refconv import cli
from refconv.harness import modelfile
from refconv.oracle import verdict
from refconv.oracle.auditing import audit
from tests.conftest import PROFILE
from tests.oracle.audited import Spoil, net_and_input, zeroed_last_channel

BACK = "::convolution_backward$"
RESNET = Path(__file__).resolve().parents[2] / "docs" / "examples" / "resnet50.py"


def test_the_table_is_worst_first_and_fits_a_screen():
    net, x = net_and_input(49)
    with Spoil(BACK, "backward", zeroed_last_channel, 0, 1), audit() as log:
        net(x).square().sum().backward()
    with Console(width=100, file=io.StringIO(), record=True) as console:
        console.print(log)
    lines = console.export_text().splitlines()
    assert lines[0] == "✘ 1 wrong of 10 layers: up"
    assert lines[3].split()[0] == "up"
    assert lines[3].split()[-1] == "WRONG"
    assert max(map(len, lines)) <= 100
    assert any(line.strip().startswith("repro: refconv compare 'conv_tr") for line in lines)
    assert [cells[-1] for cells in log.table()] == ["WRONG"] + ["ok"] * 9
    ratios = [rows[0].worst.ratio for rows in log.layers]
    assert ratios[1:] == sorted(ratios[1:], reverse=True)


def test_json_and_html_say_the_same():
    net, x = net_and_input(33)
    with Spoil(BACK, "backward", zeroed_last_channel, 0, 1), audit() as log:
        net(x).sum().backward()
    document = json.loads(log.to_json())
    assert document["verdict"] == "✘ 1 wrong of 10 layers: up"
    assert [row["level"] for row in document["rows"]] == ["wrong"] + ["consistent"] * 19
    assert document["rows"][0]["results"][1]["wrong"] > 0
    page = log._repr_html_()
    assert "overflow-x" in page
    assert "<td>up</td>" in page
    assert repr(log) == "<audit: ✘ 1 wrong of 10 layers: up>"


def test_nothing_seen_is_no_pass():
    with audit() as log:
        nn.Linear(2, 2)(torch.ones(1, 2))
    assert log.headline == "✘ no convolution or pooling was seen"
    assert log.flagged == []


MODEL = f"{Path(__file__).with_name('audited.py')}:Net"


def call(capfd, *argv):
    code = cli.main(["audit", *argv])
    out, err = capfd.readouterr()
    return code, out, err


def test_the_command_prints_the_table_and_exits_0(capfd):
    code, out, err = call(capfd, MODEL, "--in", "3x33x33", "--backward", "--channels-last")
    assert code == 0
    assert out.startswith("✔ all 10 layers consistent (10 forward, 10 backward calls)\n")
    assert "input (1, 3, 33, 33) float32 · channels_last" in out.splitlines()[1]
    assert "taken as a batch of one" in out
    assert err == ""


def test_under_autocast_forward_and_backward_are_bfloat16(capfd, tmp_path):
    file = tmp_path / "audit.json"
    options = ("--autocast", "bfloat16", "--backward", "--json", str(file))
    code, out, _ = call(capfd, MODEL, "--in", "3x33x33", *options)
    assert code == 0
    assert out.startswith("✔ all 10 layers")
    rows = json.loads(file.read_text())["rows"]
    conv = [row for row in rows if row["name"] == "stem"]
    assert {row["dtype"] for row in conv} == {"bfloat16"}
    assert {f["result"] for row in conv for f in row["results"]} == {
        "output", "grad_input", "grad_weight", "grad_bias",
    }  # fmt: skip


def test_a_wrong_layer_is_exit_1(capfd, monkeypatch):
    real = verdict.compare
    monkeypatch.setattr(verdict, "compare", lambda got, *rest: real(got + (got == got), *rest))
    code, out, _ = call(capfd, MODEL, "--in", "3x33x33")
    assert code == 1
    assert out.startswith("✘ 10 wrong of 10 layers")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ((), 2, "does not say how large its input is"),
        (("--in", "4x33x33"), 2, "expected input[1, 4, 33, 33] to have 3 channels"),
        (("--in", "3x33x33", "--autocast", "fp8"), 2, "--autocast: bfloat16 or float16"),
        (("--in", "3x33x33", "--dtype", "int8"), 2, "--dtype: a model takes"),
        (("--in", "3x33x33", "--allow", "fp8"), 2, "only tf32"),
        (("--in", "3x33x33", "--device", "nowhere"), 3, "--device nowhere"),
    ],
)
def test_mistakes_are_one_line(capfd, options, code, words):
    got, out, err = call(capfd, MODEL, *options)
    assert got == code
    assert out == ""
    assert words in err
    assert err.count("\n") == 1


def test_a_resnet50_forward_and_backward_within_three_minutes():
    """Of small images, within one; of the usual size with REFCONV_TESTS=thorough."""
    size, limit = (224, 180) if PROFILE == "thorough" else (64, 60)
    net = modelfile.load(f"{RESNET}:ResNet50").train()
    torch.manual_seed(0)
    x = torch.randn(1, 3, size, size)
    start = time.perf_counter()
    with audit(budget=30) as log:
        net(x).square().mean().backward()
    seconds = time.perf_counter() - start
    assert sum(p.numel() for p in net.parameters()) == 25_557_032
    assert len(log.layers) == 55
    assert {len(rows) for rows in log.layers} == {2}
    assert not log.flagged, log.hints
    assert all(row.level == "consistent" for row in log.rows)
    assert seconds < limit
