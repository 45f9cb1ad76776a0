"""Tolerances tried on faults and on legal results: the facts that the method is built on."""

import json
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch

from refconv import cli, label
from refconv.cli.mutate import SHAPES
from refconv.errors import UsageError
from refconv.oracle import mutants, mutate, policies, regimes, verdict

LAYER = "conv2d x[1,64,6,6] w[64,64,3,3]"
SMALL = "conv2d x[1,8,7,7] w[16,8,3,3]"
ODD = (
    "conv2d x[2,4,7,5] w[6,2,3,2] b s2,1 p1:0,2 d1,2 g2",
    "conv2d x[4,6,6] w[4,2,3,3] p1 g2",
    "conv_transpose2d x[2,4,3,5] w[4,3,3,2] b s2,3 p1,0 op1,2 g2",
    "conv_transpose1d x[2,4] w[2,3,3] d2",
    "conv3d x[1,2,4,3,5] w[3,2,2,1,3] p1",
)
OTHERS = [name for name, policy in policies.NAMED.items() if not policy.ours]


@pytest.fixture(scope="module")
def layer():
    """Every policy on the layer of the published table."""
    found = mutate.scores(list(policies.NAMED.values()), [label.read(LAYER)])
    return {one.policy.name: one for one in found}


def passes(one, candidate, data):
    [cell] = [c for c in one.cells if (c.candidate, c.data) == (candidate, data)]
    return cell.rejected == 0


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("text", ODD)
def test_legal_results_are_right_and_never_rejected_by_us(text, dtype):
    """A simulated sum with a wrong index, or of a wrong dtype, would be rejected here."""
    problem = label.read(text, dtype=dtype)
    for data in regimes.REGIMES:
        where = regimes.setting(problem, data)
        legal = [(c.name, got) for c, got in mutants.candidates(where) if c.legal]
        assert len(legal) == 6
        for name, got in legal:
            v = verdict.compare(got, where.expected.want, where.bound, noise=where.noise)
            assert v.level == "consistent", (name, data, v.reason)


def test_we_reject_nothing_legal_and_miss_nothing(layer):
    assert layer["refconv"].false_alarms == layer["f1"].false_alarms == 0
    assert layer["refconv"].missed == 0, [c for c in layer["refconv"].cells if not c.right]
    assert len(layer["refconv"].of(legal=True)) == 36


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("candidate", ["quiet filter TF32", "quiet tap dropped"])
def test_others_let_a_quiet_channels_fault_pass_and_f1_does_not(layer, name, candidate):
    if (name, candidate) == ("torch", "quiet tap dropped"):
        assert not passes(layer[name], candidate, "quiet")  # its 1e-5 is just small enough here
        return
    assert passes(layer[name], candidate, "quiet")
    assert not passes(layer["f1"], candidate, "quiet")


def test_torch_rejects_every_legal_order_on_images(layer):
    alarms = [c for c in layer["torch"].of(legal=True) if c.data == "image"]
    assert len(alarms) == 6
    assert all(c.rejected > 10 for c in alarms)


def test_the_same_fault_passes_on_a_smaller_scale(layer):
    """An absolute tolerance depends on the scale; F1 does not."""
    for name in ("kbench", "cutlass", "dynamo"):
        assert not passes(layer[name], "bf16 inputs", "kaiming")
        assert passes(layer[name], "TF32 silently", "small")
    for kind in ("missed", "false_alarms"):
        assert isinstance(getattr(layer["f1"], kind), int)
    by = {d: [c.rejected for c in layer["f1"].cells if c.data == d] for d in ("kaiming", "small")}
    assert by["kaiming"] == by["small"]


def test_one_cancelled_cell_is_why_whole_numbers_are_run_as_well(layer):
    for data in ("kaiming", "small", "normal", "image"):
        assert passes(layer["f1"], "1 cell + 61 ulp", data)
    assert not passes(layer["f1"], "1 cell + 61 ulp", "integers")
    assert passes(layer["kbench"], "1 cell + 61 ulp", "integers")


def test_a_fault_that_changes_no_bit_is_not_counted(layer):
    on = {(c.candidate, c.data) for c in layer["f1"].cells}
    assert ("TF32 silently", "integers") not in on  # whole numbers of 11 bits
    assert ("TF32 silently", "kaiming") in on
    assert not any(c == "wrong group" for c, _ in on)  # there is one group
    assert not any(c == "quiet filter TF32" and d != "quiet" for c, d in on)


def test_long_sums_are_where_f1_needs_the_noise():
    where = regimes.setting(label.read("conv2d x[1,256,4,4] w[8,256,3,3]"), "kaiming")
    [narrow] = [c.run(where, where.reference) for c in mutants.CANDIDATES if "TF32 s" in c.name]
    assert policies.NAMED["f1"].rejects(narrow, where) == 0
    assert policies.NAMED["refconv"].rejects(narrow, where) > 0
    assert policies.NAMED["refconv"].rejects(where.reference, where) == 0


def test_tf32_keeps_11_bits_rounded_to_nearest():
    exact = torch.tensor([1.0, 1 + 2.0**-10, -3.0, 0.0, 70000.0])
    assert torch.equal(mutants.tf32(exact)[:4], exact[:4])
    assert mutants.tf32(torch.tensor([1 + 2.0**-11])).item() == 1 + 2.0**-10
    assert mutants.tf32(torch.tensor([1 + 2.0**-12])).item() == 1.0


def test_orders_round_differently_and_agree_exactly_on_whole_numbers():
    problem = label.read(LAYER)
    for data, distinct in (("kaiming", True), ("integers", False)):
        where = regimes.setting(problem, data)
        got = [g for c, g in mutants.candidates(where) if c.legal]
        different = sum(not torch.equal(g, got[0]) for g in got[1:])
        assert different == (5 if distinct else 0)


#: Powers of ten between which same()'s two and three times eager's error lie.
NEAR = {"float32": (-7, -6), "float64": (-9, -4), "float16": (-4, -3), "bfloat16": (-3, -2)}


def stirred(dtype):
    """torch's result of a layer, and something more or less far from it."""
    rng = np.random.default_rng(0)
    where = regimes.setting(label.read("conv2d x[1,8,9,9] w[32,8,3,3]", dtype=dtype), "kaiming")
    for between, draws in ((-8, 0), 20), (NEAR[dtype], 20):
        for _ in range(draws):
            off = rng.standard_normal(tuple(where.reference.shape)) * 10 ** rng.uniform(*between)
            got = where.reference.double() + torch.from_numpy(off)
            yield got.to(where.reference.dtype), where


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_the_policies_of_torch_are_torchs(dtype):
    from torch._dynamo.utils import same

    answers = set()
    for got, s in stirred(dtype):
        want, wide = s.reference, torch.from_numpy(s.expected.want)
        try:
            torch.testing.assert_close(got, want)
            close = True
        except AssertionError:
            close = False
        tol = 1e-4 if dtype in ("float32", "float64") else 1e-2
        theirs = {
            "torch": close,
            "kbench": torch.allclose(want, got, rtol=tol, atol=tol),
            "1e-2": torch.allclose(want, got, rtol=1e-2, atol=1e-2),
            "dynamo": same(want, got, wide, log_error=lambda *a: None),
        }
        for name, answer in theirs.items():
            assert (np.sum(policies.NAMED[name].rejects(got, s)) == 0) == answer, name
            answers.add((name, answer))
    assert len(answers) == 8  # each of them said yes and no


def test_the_tolerance_is_relative_to_what_its_author_made_it():
    """``allclose(want, got)``, as KernelBench has it, is wider than ``allclose(got, want)``."""
    s = regimes.setting(label.read("conv1d x[1,1,1] w[1,1,1]"), "kaiming")
    s.__dict__["reference"] = torch.ones(1, 1, 1)
    got = torch.full((1, 1, 1), 1.0201)
    assert np.sum(policies.NAMED["1e-2"].rejects(got, s)) == 0
    assert np.sum(policies.find("1e-2,1e-2").rejects(got, s)) == 1


def test_images_cancel_and_a_quiet_filter_is_1e_4_times_as_large():
    for text in (SMALL, ODD[0], ODD[2]):
        problem = label.read(text, dtype="float64")
        arrays = {d: regimes.make(problem, d)["weight"] for d in ("image", "quiet", "kaiming")}
        rows = {d: regimes.filters(problem, w) for d, w in arrays.items()}
        assert rows["image"].sum(dim=1).abs().max() < 1e-12
        assert torch.equal(rows["quiet"][1:8], rows["kaiming"][1:8])
        assert torch.allclose(rows["quiet"][0], rows["kaiming"][0] * regimes.QUIET, 1e-12, 0)


def test_cutlass_takes_nothing_between_its_floor_and_five_percent_of_it():
    s = regimes.setting(label.read(SMALL), "kaiming")
    b = s.reference.double()
    for off, taken in ((1e-4, True), (1e-3, False), (0.004, True)):
        got = (b + off).float()
        large = b.abs().numpy() > 0.1
        rejected = policies.NAMED["cutlass"].rejects(got, s)
        assert (not rejected[large].any()) == taken, off


@pytest.mark.parametrize("name", policies.NAMED)
def test_no_policy_passes_nan(layer, name):
    assert not any(c.rejected == 0 for c in layer[name].cells if c.candidate == "1 NaN cell")


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A user's tolerances."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tolerances.py").write_text(
        "import torch\n"
        "def close(got, want): return torch.allclose(got, want, rtol=1e-3, atol=1e-5)\n"
        "def asserts(got, want): torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-5)\n"
        "def blind(got, want): got.zero_(); return True\n"
        "def fails(got, want): return got.shapes == want.shape\n"
    )
    return tmp_path / "tolerances.py"


@pytest.mark.parametrize("spec", ["1e-3,1e-5", "tolerances.py:close", "tolerances.py:asserts"])
def test_a_users_policy_is_judged_the_same_however_it_is_written(file, spec):
    one = mutate.score(policies.find(spec), [label.read(SMALL)])
    want = mutate.score(policies.find(" 0.001 , 0.00001 "), [label.read(SMALL)])
    assert [bool(c.rejected) for c in one.cells] == [bool(c.rejected) for c in want.cells]
    assert 0 < one.missed < len(one.of(legal=False))


def test_a_blind_policy_misses_everything_and_spoils_nothing_for_others(file):
    found = mutate.scores(
        [policies.find("tolerances.py:blind"), policies.NAMED["f1"]], [label.read(SMALL)]
    )
    assert found[0].missed == len(found[0].of(legal=False))
    assert found[1].false_alarms == 0


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("tolerances.py:fails", "AttributeError"),
        ("tolerances.py:nothing", "has no 'nothing'"),
        ("kbensh", "did you mean kbench"),
        ("1e-3", "nor rtol,atol"),
        ("1e-3,-1", "nor rtol,atol"),
    ],
)
def test_a_policy_that_cannot_be_used_is_explained(file, spec, words):
    with pytest.raises(UsageError) as caught:
        mutate.score(policies.find(spec), [label.read(SMALL)])
    assert words in str(caught.value)


def call(capfd, *argv):
    code = cli.main(["mutate", *argv])
    out, err = capfd.readouterr()
    return code, out, err


def test_the_page_says_it_in_words(capfd):
    code, out, err = call(capfd, SMALL, "--seeds", "1")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    assert re.match(r"7 of 7 tolerances let faults pass; \d rejects? legal results", lines[0])
    assert f"  {SMALL} × 6 kinds of data" in out
    rows = {line[2:19].strip(): line.split() for line in lines if line.startswith("  ")}
    heads = next(line.split() for line in lines if line.split()[:2] == ["of", "torch"])
    assert heads[1:] == list(policies.NAMED)
    assert rows["quiet filter TF32"][-1] == "reject"
    assert "PASS" in rows["quiet filter TF32"]
    assert rows["all"][-1] == "0+0"
    table = lines[lines.index(next(x for x in lines if x.split()[:1] == ["of"])) :]
    assert max(map(len, table)) <= 100
    for name, policy in policies.NAMED.items():
        assert re.search(rf"^  {re.escape(name)} +{re.escape(policy.source)}$", out, re.MULTILINE)
    assert lines[-1] == f"  repro: refconv mutate '{SMALL}' --seeds 1"


@pytest.mark.parametrize(("policy", "code"), [("torch", 1), ("1e-2,1e-2", 1), ("refconv", 0)])
def test_fail_is_exit_1_if_a_policy_is_wrong_anywhere(capfd, policy, code):
    got, out, _ = call(capfd, SMALL, "--policy", policy, "--fail")
    assert got == code
    assert out.startswith(f"{policy} misses ")
    assert (f"  {policy} misses quiet filter TF32: quiet 1; first in {SMALL}" in out) == bool(code)


def test_json_is_one_document_with_every_cell(capfd):
    code, out, _ = call(capfd, SMALL, "--policy", "torch", "--policy", "f1", "--json")
    whole = json.loads(out)
    assert (code, whole["schema"]) == (0, "refconv.mutate/1")
    torchs, f1 = whole["policies"]
    assert f1["false_alarms"] == 0
    counted = [r for r in whole["results"] if not r["legal"] and not r["rejected"]["torch"]]
    assert torchs["missed"] == len(counted)
    assert torchs["faults"] + torchs["legal"] == len(whole["results"])


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["max_pool2d x[1,2,6,6] k2"], "those of convolutions; max_pool2d is none"),
        (["conv2d x[1,2,6,6] w[2,2,3,3] int32"], "int32, where equality is due"),
        (["conv2d x[0,2,6,6] w[2,2,3,3]"], "computes nothing"),
        ([SMALL, "--policy", "kbensh"], "did you mean kbench"),
        ([SMALL, "--seeds", "0"], "--seeds"),
        (["no_such_set"], "no set of cases"),
    ],
)
def test_a_mistake_is_exit_2_and_one_line(capfd, argv, words):
    code, out, err = call(capfd, *argv)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert words in err


def test_the_default_shapes_can_be_read():
    problems = [label.read(text) for text in SHAPES]
    assert {p.groups for p in problems} >= {1, 3, 32}
    assert any(p.transposed for p in problems)


@pytest.mark.parametrize("name", ["mutate", "invariance"])
def test_help_imports_no_heavy_library_and_its_example_runs(capfd, name):
    code = (
        "import sys\nfrom refconv import cli\ncode = cli.main(sys.argv[1:])\n"
        "heavy = {'torch', 'numba', 'numpy'} & set(sys.modules)\n"
        "assert code == 0 and not heavy, (code, heavy)"
    )
    argv = [sys.executable, "-c", code, name, "--help"]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    [example] = re.findall(r"^ Example: refconv (.*?) *$", done.stdout, re.MULTILINE)
    assert cli.main(shlex.split(example)) == 0
    capfd.readouterr()
