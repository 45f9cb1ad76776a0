"""The audit: nothing of the family passes unseen, a planted fault is found and named, the run
itself stays what it was.
"""

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from refconv import label
from refconv.errors import UsageError
from refconv.ops import OPS
from refconv.oracle import aten, auditing, calls, inputs, sampling
from refconv.oracle.auditing import audit
from tests.oracle.audited import (
    Spoil,
    Tf32,
    lost_digits,
    net_and_input,
    shifted,
    zeroed_last_channel,
)

#: Problems that cover the family, and what aten is asked for where that is another op.
FAMILY = {
    "conv1d x[2,4,9] w[6,4,3] b s2 p1": "",
    "conv2d x[2,4,9,7] w[6,2,3,2] b s2,1 p1,0 d1,2 g2": "",
    "conv2d x[4,9,7] w[8,1,3,3] g4": "",
    "conv2d x[1,3,9,8] w[4,3,3,2] p1:1,0:1": "",  # padding='same': more behind than before
    "conv3d x[2,4,5,4,6] w[6,4,3,2,3] b s2 p1": "",
    "conv_transpose1d x[2,4,9] w[4,6,3] b s2 p1": "",
    "conv_transpose2d x[2,4,5,6] w[4,3,3,2] b s2,3 p1,0 op1,2 g2": "",
    "conv_transpose3d x[2,4,3,4,5] w[4,6,3,2,3] d1,2,1": "",
    "max_pool1d x[2,4,9] k2": "max_pool2d",
    "max_pool2d x[4,9,8] k3,2 s2 p1 d1,2 ceil": "",
    "max_pool3d x[2,4,9,7,8] k2": "",
    "avg_pool1d x[2,4,9] k2": "avg_pool2d",
    "avg_pool2d x[2,4,9,8] k3 s2 p1 ceil exclude_pad": "",
    "avg_pool2d x[4,9,8] k3,2 div4": "",
    "avg_pool3d x[2,4,9,7,8] k2 s1": "",
    "lp_pool1d x[2,4,9] norm2 k2": "avg_pool2d",
    "lp_pool2d x[2,4,9,8] norm2 k2": "avg_pool2d",
    "lp_pool3d x[2,4,9,8,7] norm2 k2": "avg_pool3d",
    "adaptive_avg_pool1d x[2,4,9] o4": "adaptive_avg_pool2d",
    "adaptive_avg_pool2d x[2,4,9,8] o4,3": "",
    "adaptive_avg_pool2d x[2,4,9,8] o1": "",  # a mean
    "adaptive_avg_pool2d x[1,1,1,8] o1": "",
    "adaptive_avg_pool3d x[2,4,9,8,7] o3,2,4": "",
    "adaptive_avg_pool3d x[4,9,8,7] o1": "",
    "adaptive_max_pool1d x[2,4,9] o4": "adaptive_max_pool2d",
    "adaptive_max_pool2d x[2,4,9,8] o4,3": "",
    "adaptive_max_pool3d x[2,4,9,8,7] o3,2,4": "",
    "max_unpool1d x[2,4,5] o9": "max_unpool2d",
    "max_unpool2d x[2,4,5,4] o9,8": "",
    "max_unpool3d x[2,4,3,4,2] o6,8,5": "",
    "unfold x[2,4,9,8] k3,2 s2 p1": "",
    "fold x[2,18,9] o5 k3": "",
    "pad x[2,4,9,8] p1:2,2:1 value=1.5": "",
    "pad x[2,4,9] p1:2 reflect": "",
    "pad x[4,9,8] p1:2,2:0 reflect": "",
    "pad x[2,4,5,4,6] p1,2,1 reflect": "",
    "pad x[2,4,9] p1:2 replicate": "",
    "pad x[2,4,9,8] p1:2,2:0 replicate": "",
    "pad x[2,4,5,4,6] p1,2,1 replicate": "",
}


def problem_and_arrays(text, dtype="float32"):
    problem = label.parse(text, dtype=dtype)
    arrays = inputs.make(problem, "real")
    leaves = {n: a if n == "indices" else a.requires_grad_() for n, a in arrays.items()}
    return problem, leaves, inputs.gradient(problem, "real")


@pytest.fixture(params=["full", "sampled"])
def sampled(request, monkeypatch):
    """Whether no call may take the time to be judged in full."""
    if request.param == "sampled":
        monkeypatch.setattr(auditing, "SHARE", 0.0)
        monkeypatch.setattr(auditing, "LEAST", 0.0)
    return request.param == "sampled"


def run(problem, leaves, grad):
    y = calls.results(F, problem, leaves)["output"]
    return y, torch.autograd.grad(y, [a for a in leaves.values() if a.requires_grad], grad)


def test_the_list_covers_the_family():
    assert {label.parse(text).op for text in FAMILY} == set(OPS)


@pytest.mark.parametrize("text", FAMILY)
def test_no_op_of_the_family_passes_unseen(text, sampled):
    problem, leaves, grad = problem_and_arrays(text)
    with audit() as log:
        run(problem, leaves, grad)
    op = FAMILY[text] or problem.op
    rows = [row for row in log.rows if row.op == op]
    assert [row.direction for row in rows] == ["forward", "backward"]
    assert all(row.level == "consistent" and not row.note for row in log.rows), log.hints
    forward, backward = ({f.result for f in row.results} for row in rows)
    assert forward == ({"output", "indices"} if "max_pool" in op else {"output"})
    if rows[1].label.split()[0] == op and "max_unpool" not in op and " p-" not in rows[1].label:
        wanted = {f"grad_{n}" for n, a in leaves.items() if a.requires_grad}
        assert backward == wanted
    assert rows[0].name == rows[1].name == f"{op} #1"


OPERATORS = "conv|pool|_pad|im2col|col2im|"


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("text", [t for t in FAMILY if not t.startswith("lp_pool")])
def test_a_result_that_is_off_in_its_last_cell_is_wrong_in_every_op(text, direction):
    problem, leaves, grad = problem_and_arrays(text)
    operators = OPERATORS + {"forward": "::mean", "backward": "::div|::gather"}[direction]
    with Spoil(operators, direction, last_cell), audit() as log:
        run(problem, leaves, grad)
    assert {row.direction for row in log.rows if row.level == "wrong"} == {direction}, log.hints


def test_in_inference_mode_torchs_own_compositions_are_taken_apart():
    x, w = torch.randn(1, 3, 8, 9), torch.randn(4, 3, 2, 2)
    with torch.inference_mode(), audit() as log:
        F.adaptive_avg_pool2d(F.max_pool2d(F.conv2d(x, w, padding="same"), 2), 1)
    assert [row.op for row in log.rows] == ["pad", "conv2d", "max_pool2d", "adaptive_avg_pool2d"]
    assert log.headline.startswith("✔ all 4 layers consistent")


def test_an_operator_of_the_family_without_a_rule_is_named_and_has_not_passed():
    x = torch.randn(1, 3, 8, 8)
    with audit() as log:
        F.fractional_max_pool2d(x, 2, output_size=4)
    assert [row.level for row in log.rows] == ["unjudged"]
    assert log.headline.startswith("✘ nothing was judged: aten::fractional_max_pool2d")
    with audit() as log:
        F.fractional_max_pool2d(F.avg_pool2d(x, 1), 2, output_size=4)
    assert log.headline == "✔ 1 layer consistent (2 forward calls); 1 of 2 layers not judged"


def test_every_rule_is_for_an_operator_that_looks_like_the_family():
    other = {"aten::mean", "aten::div", "aten::gather"}  # how torch writes some derivatives
    assert {name for name in aten.READERS if not aten.FAMILY.search(name[6:])} == other


def last_cell(out):
    out = out.clone()
    out.view(-1)[-1] += 1 + out.view(-1)[-1].abs() * 2**-8
    return out


NAMES = [
    "stem", "pool", "blocks.0.conv", "blocks.0.wide", "blocks.0.forward()", "blocks.1.conv",
    "blocks.1.wide", "blocks.1.forward()", "up", "forward()",
]  # fmt: skip


def test_calls_are_named_by_the_modules_path_and_derivatives_like_their_layer():
    net, x = net_and_input()
    with audit() as log:
        net(x).square().mean().backward()
    assert [row.name for row in log.rows if row.direction == "forward"] == NAMES
    assert [row.name for row in log.rows if row.direction == "backward"] == NAMES[::-1]
    assert log.headline == "✔ all 10 layers consistent (10 forward, 10 backward calls)"


def test_a_repeated_layer_another_model_and_a_bare_function_have_names_of_their_own():
    conv, x = nn.Conv2d(3, 3, 1), torch.randn(1, 3, 4, 4)
    with audit() as log:
        nn.Sequential(conv, conv)(x)
        nn.Sequential(conv)(x)
        conv(F.conv2d(x, conv.weight))
    assert [row.name for row in log.rows] == [
        "0", "0 #2", "Sequential#2.0", "conv2d #1", "Conv2d.Conv2d",
    ]  # fmt: skip


#: Operators, direction, which call of it, which of its results, the fault; its layer, the result.
CONV, BACK = "::convolution$", "::convolution_backward$"
FAULTS = {
    "last channel": (CONV, "forward", 2, 0, zeroed_last_channel, "blocks.0.wide", "output"),
    "lost digits": (CONV, "forward", 0, 0, lost_digits, "stem", "output"),
    "a transposed output moved": (CONV, "forward", 5, 0, shifted, "up", "output"),
    "dx moved": (BACK, "backward", 2, 0, shifted, "blocks.1.conv", "grad_input"),
    "dw's last channel": (BACK, "backward", 0, 1, zeroed_last_channel, "up", "grad_weight"),
    "db doubled": (BACK, "backward", 5, 2, lambda g: 2 * g, "stem", "grad_bias"),
    "the maximum's place": ("max_pool2d", "forward", 0, 1, shifted, "pool", "indices"),
    "the maximum's gradient": ("max_pool2d", "backward", 0, 0, shifted, "pool", "grad_input"),
    "an average": (
        "avg_pool",
        "forward",
        1,
        0,
        lambda y: y * 1.001,
        "blocks.1.forward()",
        "output",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_blamed_on_its_layer_alone(name, sampled):
    operators, direction, nth, at, fault, where, result = FAULTS[name]
    net, x = net_and_input()
    with Spoil(operators, direction, fault, nth, at), audit() as log:
        net(x).square().mean().backward()
    assert {(row.name, row.direction) for row in log.flagged} == {(where, direction)}, log.hints
    assert log.worst[0].worst.result == result
    assert log.headline.startswith(f"✘ 1 wrong of 10 layers: {where}")
    assert any("sampled" in row.sampled for row in log.rows) == sampled


def test_lost_precision_inside_the_proof_is_suspect():
    def five_digits_fewer(y):
        return (y.view(torch.int32) & -(2**5)).view(torch.float32)

    conv, x = nn.Conv2d(64, 8, 3, bias=False), torch.randn(1, 64, 12, 12)
    with Spoil(CONV, "forward", five_digits_fewer), audit() as log:
        conv(x)
    assert log.headline == "? 1 suspect of 1 layer: Conv2d"
    assert log.flagged[0].worst.noise > 2


def test_outputs_gradients_and_random_numbers_are_bit_for_bit_those_of_a_run_without_audit():
    net, x = net_and_input()
    made = []
    for audited in (False, True):
        torch.manual_seed(1)
        net.zero_grad()
        if audited:
            with audit() as log:
                y = net(x)
                y.square().mean().backward()
        else:
            y = net(x)
            y.square().mean().backward()
        made.append([y, *(p.grad.clone() for p in net.parameters()), torch.get_rng_state()])
        net.norm.reset_running_stats()
    assert len(log.rows) == 20
    assert all(torch.equal(a, b) for a, b in zip(*made, strict=True))


class Listener(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.heard = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.heard.append(func)
        return func(*args, **(kwargs or {}))


def test_another_mode_hears_the_same_calls_and_none_of_the_audits():
    heard = []
    for audited in (False, True):
        net, x = net_and_input(33)
        with Listener() as listener, audit() if audited else nullcontext():
            net(x).square().mean().backward()
        # torch 2.6 detaches what a second mode has returned, whatever the mode does.
        detach = torch.ops.aten.detach.default
        heard.append([func for func in listener.heard if func is not detach])
    assert heard[0] == heard[1]


@pytest.mark.parametrize("mode", ["autocast", "channels_last", "compile", "float64", "bfloat16"])
def test_a_run_in_another_mode_is_consistent_and_says_what_it_was(mode):
    net, x = net_and_input(33)
    dtype = {"float64": torch.float64, "bfloat16": torch.bfloat16}.get(mode, torch.float32)
    net, x = net.to(dtype), x.to(dtype)
    if mode == "channels_last":
        net, x = (v.to(memory_format=torch.channels_last) for v in (net, x))
    called = torch.compile(net, backend="eager") if mode == "compile" else net
    with torch.autocast("cpu", torch.bfloat16, enabled=mode == "autocast"), audit() as log:
        called(x).float().square().mean().backward()
    assert log.headline.startswith("✔ all 10 layers consistent"), log.hints
    assert [row.name for row in log.rows if row.direction == "forward"] == NAMES
    assert {row.dtype for row in log.rows if row.op == "conv2d"} == {
        {"autocast": "bfloat16", "bfloat16": "bfloat16"}.get(mode, str(dtype)[6:])
    }
    assert any("torch.compile" in note for note in log.notes) == (mode == "compile")


def test_recomputed_and_second_derivatives_have_their_layers_name():
    net, x = net_and_input(33)
    block = net.blocks[0]
    with audit() as log:
        y = checkpoint(block, torch.randn(1, 8, 9, 9, requires_grad=True), use_reentrant=False)
        y.square().sum().backward()
    assert not log.flagged
    names = ["conv", "wide", "forward()"]
    assert [row.name for row in log.rows if row.direction == "backward"] == names[::-1]
    forward = [row.name for row in log.rows if row.direction == "forward"]
    assert forward == [*names, "conv #2", "wide #2"]  # the pool's input is all that is needed
    conv, x = nn.Conv2d(2, 3, 3), torch.randn(1, 2, 6, 6, requires_grad=True)
    with audit() as log:
        [g] = torch.autograd.grad(conv(x).square().sum(), x, create_graph=True)
        g.square().sum().backward()
    assert not log.flagged
    assert {row.name for row in log.rows} == {"Conv2d"}
    assert len(log.rows) > 4


def test_16_bit_sums_of_torch_are_excused_and_said():
    x = torch.randn(1, 2, 33, 33, dtype=torch.bfloat16)
    with audit() as log:
        F.fold(F.unfold(x, 5), (33, 33), 5)
    assert log.headline.startswith("✔")
    assert any("torch sums in bfloat16" in line for line in log.hints)


def test_tf32_is_wrong_unless_it_is_allowed():
    def run(**options):
        torch.manual_seed(0)
        conv, x = nn.Conv2d(8, 8, 3, bias=False), torch.randn(1, 8, 15, 15)
        with Tf32(), audit(**options) as log:
            conv(x)
        return log

    row = run().worst[0]
    assert row.level == "wrong"
    assert "tf32" in row.worst.fingerprint
    log = run(allow=["tf32"])
    assert log.worst[0].level == "consistent"
    assert "TF32" in log.worst[0].note
    with pytest.raises(UsageError, match="only tf32"), audit(allow=["fp8"]):
        pass


def test_what_our_rules_refuse_or_cannot_read_is_said_and_stops_no_model(monkeypatch):
    def broken(*args):
        raise RuntimeError("the reference broke")

    monkeypatch.setattr(sampling, "whole", broken)
    with audit() as log:
        y = nn.Conv2d(1, 1, 1)(torch.ones(1, 1, 2, 2))
    assert y.shape == (1, 1, 2, 2)
    assert log.worst[0].level == "unjudged"
    assert "the reference broke" in log.worst[0].note


def test_the_budget_shrinks_what_a_call_may_take_and_learns_how_slow_the_machine_is():
    budget = auditing._Budget(16.0)
    assert budget.share == 1.0
    budget.book(8.0, estimate=2.0)
    assert (budget.share, budget.slowness) == (0.5, 4.0)
    budget.book(100.0, estimate=None)
    assert (budget.share, budget.slowness) == (auditing.LEAST, 4.0)


def test_hooks_and_modes_are_gone_after_an_error_inside():
    from torch.nn.modules import module

    with pytest.raises(ZeroDivisionError), audit() as log:
        1 / 0  # noqa: B018
    assert not module._global_forward_hooks
    assert not module._global_forward_pre_hooks
    F.conv2d(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 1, 1))
    assert log.rows == []
