"""Packs: what they say is right, what is wrong does not pass, and they need NumPy alone."""

import json
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from refconv import cli, label
from refconv.errors import UnsupportedError
from refconv.harness import cases as sets
from refconv.oracle.pack import find, make, packs, targets, verify
from tests.oracle.faults import FAULTS, UNLISTED

torch = pytest.importorskip("torch")
F = torch.nn.functional
ROOT = Path(__file__).resolve().parents[2]
EDGE = {case["name"]: case for case in verify.read(find("edge"))[1]}
GROUPS = EDGE["groups"]


def right(case, y=lambda y: y, part="real"):
    """torch's result of a part, as it is or changed."""
    function = targets.function("torch", case["op"], case["dtype"])
    arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in case["arguments"].items()}
    return y(function(*verify.arrays(case, part), **arguments))


def test_the_numbers_are_splitmix64():
    """Against the generator's published outputs, and against whole numbers of Python."""
    assert verify.words(1234567, 3).tolist() == [
        6457827717110365317, 3203168211198807973, 9817491932198370423,
    ]  # fmt: skip
    state, mask, made = 77, 2**64 - 1, []
    for _ in range(5):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        made.append(z ^ (z >> 31))
    assert verify.words(77, 5).tolist() == made


@pytest.mark.parametrize("name", ["edge", "resnet50", "mobilenet_v2"])
def test_ours_hold_every_case_of_their_set(name):
    assert set(packs()) == {"edge", "resnet50", "mobilenet_v2"}
    head, cases = verify.read(find(name))
    assert head["cases"] == len(cases)
    wanted = {case.name: label.format(case.problem) for case in sets.load(name)}
    assert {case["name"]: case["label"] for case in cases} == wanted
    sizes = [len(json.dumps(case)) for case in cases]
    assert max(sizes) < 5_000


FRESH = "groups up_groups max_ceil avg_ceil lp_2d brain pad_sides_axes unpool_2d pad_constant fold"


@pytest.mark.parametrize("name", FRESH.split())
def test_ours_are_what_is_made_today(name):
    [case] = sets.load(f"edge:{name}")
    assert json.loads(json.dumps(make.case(name, case.problem))) == EDGE[name]


@pytest.mark.parametrize("name", list(EDGE))
def test_torch_is_right(name):
    case = EDGE[name]
    function = targets.function("torch", case["op"], case["dtype"])
    assert verify.verify(case, function) == ("right", "")


@pytest.mark.parametrize(("pack", "name"), [("resnet50", "layer4_3x3"),
                                            ("mobilenet_v2", "b14_depthwise")])  # fmt: skip
def test_torch_is_right_on_a_large_layer(pack, name):
    [case] = [c for c in verify.read(find(pack))[1] if c["name"] == name]
    function = targets.function("torch", case["op"], case["dtype"])
    assert verify.verify(case, function) == ("right", "")


def test_values_are_the_exact_sums():
    """The sums of fractions, for every element that is looked at, of both parts."""
    for part in ("whole", "real"):
        x, w, b = verify.arrays(GROUPS, part)
        y = np.zeros(GROUPS["output"], object)
        padded = np.pad(x.astype(object), [(0, 0), (0, 0), (1, 1), (1, 1)])
        for n, k, i, j in np.ndindex(*y.shape):
            seen = padded[n, k // 3 * 2 : k // 3 * 2 + 2, i : i + 3, j : j + 3].ravel()
            terms = zip(seen, w[k].ravel(), strict=True)
            y[n, k, i, j] = Fraction(float(b[k])) + sum(
                Fraction(float(a)) * Fraction(float(c)) for a, c in terms
            )
        how = GROUPS[part]
        found = dict(zip(how["at"], how["value"], strict=True))
        for at, value in found.items():
            assert float(y.flat[at]) == value
        if part == "whole":
            assert verify.digest(y.astype(float)) == how["sha256"]


FAULTY = {
    "a NaN": (lambda y: np.where(np.arange(y.size).reshape(y.shape) == 7, np.nan, y), "is nan"),
    "a wrong shape": (lambda y: y[..., :-1], "shape"),
    "a missing batch axis": (lambda y: y[0], "shape"),
    "another dtype": (lambda y: y.astype("f8"), "dtype float64"),
    "one element off by one": (lambda y: y + (np.arange(y.size).reshape(y.shape) == 9), "differ"),
    "channels exchanged": (lambda y: y[:, ::-1], "element"),
    "height and width exchanged": (lambda y: y.swapaxes(2, 3), "element"),
    "rounded to 16 bits": (lambda y: y.astype("f2").astype("f4"), "real numbers: element"),
}


@pytest.mark.parametrize(("change", "words"), FAULTY.values(), ids=FAULTY)
def test_what_is_wrong_does_not_pass(change, words):
    right_one = targets.function("torch", "conv2d", "float32")
    outcome, why = verify.verify(GROUPS, lambda *a, **k: change(right_one(*a, **k)))
    assert outcome == "wrong"
    assert words in why
    assert "\n" not in why


def test_a_hash_finds_the_element_that_is_not_looked_at():
    """Of an output of a thousand elements, the one that is off is none of the samples."""
    case = EDGE["channels_31_33"]
    away = next(i for i in range(10_000) if i not in case["whole"]["at"])
    y = right(case, part="whole")
    y.flat[away] += 1
    assert "none of the" in verify.judge(case, "whole", y)


def test_signed_sums_hold_every_element():
    """A fault outside of the samples, larger than the bounds of its sum together, is found."""
    case = EDGE["channels_31_33"]
    how = case["real"]
    away = next(i for i in range(10_000) if i not in how["at"])
    y = right(case)
    assert verify.judge(case, "real", y) == ""
    y.flat[away] += 2.5 * max(how["sums_within"])
    assert "signed sum" in verify.judge(case, "real", y)


def test_a_result_of_whole_numbers_but_for_rounding():
    """As Winograd gives it: named, and accepted with --rounded."""
    y = right(GROUPS, part="whole") + np.float32(2.0**-12)
    for at in GROUPS["whole"]["at"]:
        y.flat[at] = np.rint(y.flat[at])
    assert "equal only when rounded" in verify.judge(GROUPS, "whole", y)
    assert verify.judge(GROUPS, "whole", y, rounded=True) == ""


PLANTED = [
    "S01",
    "P04",
    "G01",
    "K06",
    "N01",
    "U01",
    "U04",
    "U05",
    "U06",
    "U07",
    "U16",
    "U75",
    "U87",
]


@pytest.mark.parametrize("fault", [f for f in (*FAULTS, *UNLISTED)
                                   if f.op == "conv2d" and f.id in PLANTED],
                         ids=lambda f: f"{f.id}-{f.function.__name__}")  # fmt: skip
def test_planted_faults_are_caught(fault):
    """By the edge pack; what it cannot see (gradients, layouts) is not in the list."""

    def call(*arrays, **arguments):
        return fault.function(*(torch.from_numpy(a) for a in arrays), **arguments).numpy()

    cases = [c for c in EDGE.values() if c["op"] == "conv2d" and c["dtype"] != "bfloat16"]
    assert any(verify.verify(case, call)[0] == "wrong" for case in cases)


def test_the_verifier_needs_numpy_alone(tmp_path):
    """Copied, in a process that can import neither refconv nor torch nor numba."""
    shutil.copy(verify.__file__, tmp_path / "verify.py")
    shutil.copy(find("edge"), tmp_path / "edge.jsonl")
    shutil.copy(ROOT / "docs" / "examples" / "numpy_conv.py", tmp_path)
    block = (
        "import sys, runpy\n"
        "for name in ('refconv', 'torch', 'numba', 'scipy'): sys.modules[name] = None\n"
        "sys.argv = ['verify.py', 'edge.jsonl', *sys.argv[1:]]\n"
        "runpy.run_path('verify.py', run_name='__main__')\n"
    )

    def run(*words):
        return subprocess.run(
            [sys.executable, "-c", block, *words], cwd=tmp_path, capture_output=True, text=True
        )

    done = run("numpy_conv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("edge: 36 right, 0 wrong, 61 skipped")
    wrong = (tmp_path / "numpy_conv.py").read_text().replace("t * d for", "t * 1 for")
    (tmp_path / "slip.py").write_text(wrong)
    done = run("slip")
    assert done.returncode == 1
    assert "dilated: wrong: whole numbers: element" in done.stdout


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text[: len(text) // 2], "damaged"),
        (lambda text: text.replace('"least":-7', '"least":-6', 1), "damaged"),
        (lambda text: "".join(text.splitlines(keepends=True)[:-1]), "96 of 97 cases"),
        (lambda text: text.replace("pack/1", "pack/9", 1), "'refconv.pack/9', must be"),
        (lambda text: "", "no pack"),
        (lambda text: "hello\n", "no pack"),
        (lambda text: "[1]\n", "no pack"),
    ],
)
def test_a_damaged_pack_is_one_line(tmp_path, capfd, damage, words):
    path = tmp_path / "pack.jsonl"
    path.write_text(damage(find("edge").read_text("utf-8")), "utf-8")
    assert cli.main(["pack", "verify", str(path)]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert words in err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("conv2d x[1,3,8,8] w[4,3,3,3] int8", "not int8"),
        ("conv2d x[1,90,8,8] w[4,90,3,3] bfloat16", "810 terms"),
        ("lp_pool2d x[1,2,5,5] norm1.5 k2", "norm 1.5"),
        ("conv2d x[1,3,8,8] w[4,3,3,3] y[1,4,4,4]", "no call of this size"),
        ("avg_pool2d x[1,2,40,40] k31,37 float16", "do not fit float16"),
    ],
)
def test_what_cannot_be_packed_says_why(text, words):
    with pytest.raises(UnsupportedError, match=words):
        make.case("it", label.read(text))


def test_make_and_verify(tmp_path, capfd):
    """A pack of cases of two sets; a backend, a user's function, and one that is wrong."""
    path = tmp_path / "mine.jsonl"
    assert cli.main(["pack", "make", "edge:groups", "edge:max_ceil", "-o", str(path)]) == 0
    out, _ = capfd.readouterr()
    assert out.startswith(f"{path}: 2 cases, ")
    assert cli.main(["pack", "verify", str(path), "im2col"]) == 0
    out, _ = capfd.readouterr()
    assert out == "✔ im2col on mine: 2 of 2 cases right\n"
    mine = tmp_path / "mine.py"
    mine.write_text(
        "import torch\n"
        "def good(*a, **k): return torch.nn.functional.conv2d(*a, **k)\n"
        "def bad(*a, **k): return torch.nn.functional.conv2d(*a, **k).flip(1)\n"
    )
    assert cli.main(["pack", "verify", str(path), f"{mine}:good", "--op", "conv2d"]) == 0
    out, _ = capfd.readouterr()
    assert "1 of 2 cases right; 1 skipped" in out
    assert out.splitlines()[1:] == ["  max_ceil: skipped: other ops"]
    assert cli.main(["pack", "verify", str(path), f"{mine}:bad", "--op", "conv2d", "--json"]) == 1
    verdict = json.loads(capfd.readouterr().out)
    assert verdict["exit_code"] == 1
    assert verdict["cases"][0]["outcome"] == "wrong"
    assert cli.main(["pack", "verify", str(path), f"{mine}:good"]) == 2
    assert "which op is this?" in capfd.readouterr().err
    assert cli.main(["pack", "verify", "resnet", "torch"]) == 2
    assert "did you mean resnet50?" in capfd.readouterr().err


def test_what_is_not_packed_is_listed(tmp_path, capfd):
    path = tmp_path / "mine.jsonl"
    words = ["edge:groups", "conv2d x[1,3,8,8] w[4,3,3,3] int8", "-o", str(path)]
    assert cli.main(["pack", "make", *words]) == 0
    out, err = capfd.readouterr()
    assert ": 1 case, " in out
    assert "not int8" in err
    assert cli.main(["pack", "make", words[1], "-o", str(path)]) == 2
    assert "none of the 1 cases can be packed" in capfd.readouterr().err
