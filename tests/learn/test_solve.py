"""The solver: every answer fits, none is missing, the plainest is first, a no has its reason."""

import json
import subprocess
import sys

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import refconv as rc
from refconv import window
from refconv.errors import ArgumentError, RefconvError, UsageError
from refconv.learn import solve_search
from refconv.learn.solve import solve

FEW = settings(max_examples=60, deadline=None)
GEOMETRY = {
    "size": st.integers(1, 20),
    "kernel": st.integers(1, 5),
    "stride": st.integers(1, 4),
    "padding": st.integers(0, 4),
    "dilation": st.integers(1, 3),
}
CONV = tuple(GEOMETRY)


def values(solution):
    return [answer.values for answer in solution.answers]


@FEW
@given(unknown=st.sampled_from(CONV), **GEOMETRY)
def test_one_unknown_of_a_convolution_is_found_with_all_its_like(unknown, **numbers):
    """Brute force over a range wider than any answer finds the same values."""
    out = window.out_size(*numbers.values())
    assume(out >= 1)
    found = solve(out=out, **numbers | {unknown: "?"})
    least = unknown != "padding"
    fits = [
        value
        for value in range(least, 130)
        if window.out_size(*(numbers | {unknown: value}).values()) == out
    ]
    got = sorted(answer.values[unknown] for answer in found.answers)
    open_ended = (unknown == "stride" and out == 1) or (
        unknown == "dilation" and numbers["kernel"] == 1
    )
    assert got == (fits[: len(got)] if open_ended else fits)
    assert numbers[unknown] in got or open_ended
    assert all(answer.axes[0].out == out for answer in found.answers)


@FEW
@given(
    unknown=st.sampled_from((*CONV, "output_padding")),
    output_padding=st.integers(0, 3),
    **GEOMETRY,
)
def test_one_unknown_of_a_transposed_convolution(unknown, output_padding, **numbers):
    """The same, and torch takes every answer."""
    assume(output_padding < max(numbers["stride"], numbers["dilation"]))
    numbers = {**numbers, "output_padding": output_padding}

    def size(given):
        k, s, p, d = (given[n] for n in ("kernel", "stride", "padding", "dilation"))
        if given["output_padding"] >= max(s, d):
            return None
        return window.conv_transpose_out_size(given["size"], k, s, p, given["output_padding"], d)

    out = size(numbers)
    assume(out >= 1)
    found = solve(op="conv_transpose", out=out, **numbers | {unknown: None})
    least = "padding" not in unknown
    fits = [v for v in range(least, 130) if size(numbers | {unknown: v}) == out]
    got = sorted(answer.values[unknown] for answer in found.answers)
    free = {"stride": numbers["size"] == 1, "dilation": numbers["kernel"] == 1}.get(unknown)
    assert got == (fits[: len(got)] if free else fits)
    answer = found.answers[0].axes[0]
    y = torch.conv_transpose1d(
        torch.zeros(1, 1, answer.size), torch.zeros(1, 1, answer.kernel), None, answer.stride,
        answer.padding[0], answer.output_padding, 1, answer.dilation,
    )  # fmt: skip
    assert y.shape[-1] == out


@FEW
@given(
    unknown=st.sampled_from(["kernel", "stride", "padding", "size"]),
    ceil_mode=st.booleans(),
    **GEOMETRY,
)
def test_one_unknown_of_a_pooling(unknown, ceil_mode, **numbers):
    """Padding is at most half of the kernel; ceil_mode drops a window that starts in it."""
    numbers["padding"] = min(numbers["padding"], numbers["kernel"] // 2)

    def size(given):
        if given["padding"] > given["kernel"] // 2:
            return None
        return window.out_size(*given.values(), ceil_mode=ceil_mode)

    out = size(numbers)
    assume(out >= 1)
    found = solve(op="pool", ceil_mode=ceil_mode, out=out, **numbers | {unknown: "?"})
    least = unknown != "padding"
    fits = [v for v in range(least, 130) if size(numbers | {unknown: v}) == out]
    got = sorted(answer.values[unknown] for answer in found.answers)
    assert got == (fits[: len(got)] if unknown == "stride" and out == 1 else fits)


def test_a_pools_kernel_is_at_least_twice_its_padding():
    """Kernels 2 and 3 would give 3 windows too, but torch refuses them; ceil_mode has its sign."""
    found = solve(op="pool", kernel="?", stride=4, padding=2, size=9, out=3)
    assert sorted(answer.values["kernel"] for answer in found.answers) == [4, 5]
    ceil = solve("nn.MaxPool2d(3,2,ceil_mode=True)", in_=28)
    assert ceil.equation == ("28 + 0 - 3 = 2*(o-1) - r, r in {0,1}",)
    assert values(ceil) == [{"out": 14}]


@FEW
@given(two=st.sampled_from([("kernel", "padding"), ("kernel", "stride"), ("stride", "padding"),
                            ("padding", "size"), ("padding", "out"), ("dilation", "padding")]),
       **GEOMETRY)  # fmt: skip
def test_two_unknowns_are_found_within_their_ranges(two, **numbers):
    """What made the size is among the answers, and every answer gives it."""
    extent = window.effective_kernel(numbers["kernel"], numbers["dilation"])
    numbers["padding"] = min(numbers["padding"], extent - 1)
    out = window.out_size(*numbers.values())
    assume(out >= 1)
    known = {**numbers, "out": out}
    found = solve(**known | dict.fromkeys(two, "?"))
    assert {name: known[name] for name in two} in values(found)
    for answer in found.answers:
        axis = answer.axes[0]
        sizes = (axis.size, axis.kernel, axis.stride, axis.padding, axis.dilation)
        assert window.out_size(*sizes) == axis.out == (known | answer.values)["out"]


@settings(max_examples=20, deadline=None)
@given(
    unknown=st.sampled_from(CONV),
    op=st.sampled_from(["conv", "conv_transpose", "pool"]),
    **GEOMETRY | {"size": st.integers(70, 100)},
)
def test_long_ranges_are_halved_to_the_same_answers(unknown, op, **numbers):
    """With and without halving."""
    numbers["padding"] = min(numbers["padding"], numbers["kernel"] // 2)
    wanted = solve(op=op, out="?", **numbers).answers[0].values["out"]
    quick = solve(op=op, out=wanted, **numbers | {unknown: "?"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solve_search, "MANY", 1 << 30)
        slow = solve(op=op, out=wanted, **numbers | {unknown: "?"})
        assert quick.answers == slow.answers
        none = solve(op=op, out=wanted + 1, **numbers | {unknown: "?"})
    assert solve(op=op, out=wanted + 1, **numbers | {unknown: "?"}).why == none.why


def test_a_second_of_sound_is_solved_at_once():
    """A million samples: the range is not walked through."""
    found = solve("nn.Conv1d(1,1,4,2,padding=?)", in_=1_000_000, out=500_000)
    assert values(found) == [{"padding": 1}]


NETD = [("nn.Conv2d(3,64,3,padding=?)", 96, 96), ("nn.Conv2d(64,64,4,2,padding=?)", 96, 48)]


@pytest.mark.parametrize(("code", "size", "out"), NETD)
def test_netd_needs_padding_one(code, size, out):
    """Question 10: the paper gives kernel, stride and sizes."""
    assert values(solve(code, in_=size, out=out)) == [{"padding": 1}]


def test_the_answer_of_question_ten_in_full():
    """Verdict, equation, code with the answer in it, arithmetic, and what 'same' would do."""
    found = solve("nn.Conv2d(64,64,4,2,padding=?)", in_="64x96x96", out="64x48x48")
    assert found.text.splitlines() == [
        "padding = 1 (the only answer)",
        "  96 + 2p - 4 = 2*47 + r, r in {0,1}",
        "  nn.Conv2d(64,64,4,2,padding=1)  (96+2*1-4)/2+1 = 48",
        "  note: torch's padding='same' would raise here: it needs stride 1",
    ]
    again = solve("nn.Conv2d(64,64,4,2,padding=?)", **{"in": 96}, out=48)
    assert again.text == found.text == str(found) == repr(found)
    assert values(rc.solve(padding=None, kernel=4, stride=2, size=96, out=48)) == [{"padding": 1}]
    assert "padding = 1 (the only answer)" in found._repr_html_()
    assert found.__rich__().plain == found.text
    read = json.loads(found.to_json())
    assert read["answers"][0]["padding"] == 1
    assert read["answers"][0]["axes"][0]["text"] == "(96+2*1-4)/2+1 = 48"


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_only_an_asymmetric_padding_fits():
    """32 to 32 with kernel 4: torch's 'same' pads (1, 2), and the layer before it does too."""
    found = solve("nn.Conv2d(3,3,4,padding=?)", in_=32, out=32)
    assert found.answers == ()
    assert found.asymmetric == ((1, 2),)
    assert found.text.splitlines() == [
        "only an asymmetric padding fits: (1, 2), zeros before and behind",
        "  32 + 2p - 4 = 31",
        "  padding 1 gives 31, padding 2 gives 33",
        "  note: torch's padding='same' adds just these",
        "  note: nn.ZeroPad2d((1, 2, 1, 2)) before it, and padding=0, adds them",
    ]
    x = torch.zeros(1, 3, 32, 32)
    y = torch.nn.Conv2d(3, 3, 4)(torch.nn.ZeroPad2d((1, 2, 1, 2))(x))
    assert y.shape == torch.nn.Conv2d(3, 3, 4, padding="same")(x).shape == x.shape
    mixed = solve("nn.Conv2d(3,3,3,padding=?)", in_=(32, 48), out=(32, 49))
    assert mixed.asymmetric == ((1, 1), (1, 2))
    assert "nn.ZeroPad2d((1, 2, 1, 1))" in mixed.text


WHY = {
    "nn.Conv2d(3,3,3,padding=?)": (
        "padding 0 gives 30, the smallest output that any padding gives",
        20,
    ),
    "nn.Conv2d(3,3,3,stride=?)": ("stride 2 gives 15, stride 1 gives 30", 20),
    "nn.Conv2d(3,3,?,2)": ("kernel 1 gives 16, the largest output that any kernel gives", 17),
    "nn.MaxPool2d(?)": ("kernel 2 gives 16, kernel 1 gives 32", 20),
    "nn.ConvTranspose2d(3,3,3,2,padding=?)": (
        "padding 1 gives 63, padding 0 gives 65; padding=1, output_padding=1 fit", 64,
    ),
    "nn.ConvTranspose2d(3,3,4,2,1,output_padding=?)": (
        "output_padding 1 gives 65, the largest output that any output_padding gives", 66,
    ),
}  # fmt: skip


@pytest.mark.parametrize("code", WHY)
def test_where_nothing_fits_the_next_numbers_say_why(code):
    """The outputs below and above the wanted one, and what gives them."""
    why, out = WHY[code]
    found = solve(code, in_=32, out=out)
    assert (found.answers, found.asymmetric, found.why) == ((), None, why)
    assert found.verdict == f"no {found.unknown[0]} fits"
    two = solve("nn.MaxPool2d(?,?)", in_=100, out=85)
    assert two.text.splitlines()[0] == "no kernel with any stride fits"
    assert two.why == "tried: kernel 1 to 11, stride 1 to 8"


PLAINEST = {
    "nn.Conv2d(3,3,?,padding=?)": (32, 32, {"kernel": 3, "padding": 1}),
    "nn.Conv2d(3,3,?,2,padding=?)": (96, 48, {"kernel": 4, "padding": 1}),
    "nn.Conv2d(3,3,3,padding=?,dilation=?)": (32, 32, {"padding": 1, "dilation": 1}),
    "nn.Conv2d(3,3,?,dilation=?)": (9, 5, {"kernel": 5, "dilation": 1}),
    "nn.Conv2d(3,3,7,2,3)": (None, 112, {"size": 223}),
    "nn.ConvTranspose2d(3,3,?,2,?)": (12, 24, {"kernel": 4, "padding": 1}),
    "nn.ConvTranspose2d(3,3,3,2,?,?)": (12, 24, {"padding": 1, "output_padding": 1}),
    "nn.MaxPool2d(?)": (28, 14, {"kernel": 2}),
    "nn.MaxPool2d(?,?)": (28, 14, {"kernel": 2, "stride": 2}),
    "F.max_pool2d(x[1,6,28,28], ?)": (None, 14, {"kernel": 2}),
    "F.conv2d(x[1,3,32,32], w[6,3,5,5], padding=?)": (None, 32, {"padding": 2}),
    "nn.Conv2d(3,6,5,padding=?)(x[1,3,32,32])": (None, 32, {"padding": 2}),
    "nn.Conv2d(3,6,5)": (32, None, {"out": 28}),
    "nn.Conv2d(3,6,(5,3))": ((32, 32), None, {"out": (28, 30)}),
    "nn.Conv2d(3,6,?)": ((32, 48), (28, 46), {"kernel": (5, 3)}),
    "nn.Conv2d(3,6,3,padding='?')": ((32, 48), (32, 50), {"padding": (1, 2)}),
    "nn.Conv2d(3,6,3,padding='same',bias=False)": (9, None, {"out": 9}),
    "nn.Conv1d(3,6,3,padding='valid')": (None, 9, {"size": 11}),
}


@pytest.mark.parametrize("code", PLAINEST)
def test_the_plainest_answer_comes_first(code):
    """Also per axis, of a functional, and of a module that is called."""
    size, out, best = PLAINEST[code]
    found = solve(code, in_=size, out=out)
    assert values(found)[0] == best
    assert "?" not in found.answers[0].code
    assert all(len(line) <= 100 for line in found.text.splitlines())


def test_many_answers_are_a_table():
    """What was tried, and in which order, stands below; the rest is in ``answers``."""
    found = solve("nn.Conv2d(3,3,?,2,padding=?)", in_=96, out=48)
    lines = found.text.splitlines()
    assert lines[0] == "kernel = 4, padding = 1, the plainest; 10 others"
    assert lines[2].split() == ["kernel", "padding", "arithmetic", "left", "over"]
    assert lines[3].split() == ["4", "1", "(96+2*1-4)/2+1", "=", "48", "0"]
    assert lines[11] == "  … and 3 more, in .answers and --json"
    assert lines[12] == "  tried: kernel 1 to 11, padding below the window's extent"
    inputs = solve("nn.Conv2d(3,3,7,2,3)", out=112)
    assert inputs.verdict == "input = 223 to 224; 223 is the plainest"


def test_notes_say_what_a_user_should_know():
    """'same', TensorFlow's other alignment, strides that do not matter, cells left over."""
    notes = {
        ("nn.Conv2d(3,3,3,padding=?)", 32, 32): "the same as torch's padding='same'",
        ("nn.Conv2d(3,3,3,2,padding=?)", 224, 112): (
            "TensorFlow's SAME pads (0, 1): the same size, another alignment"
        ),
        ("nn.Conv2d(3,3,5,?,2)", 96, 1): "any larger stride gives 1 too",
        ("nn.ConvTranspose2d(3,3,4,?,1)", 1, 2): "needs no stride: any other gives the same",
        ("nn.Conv2d(3,3,1,dilation=?)", 8, 8): "any other dilation gives the same",
        ("nn.Conv2d(3,3,3,2,padding=?)", 8, 4): "1 cell left over behind the last window, padding",
        ("nn.Conv2d(3,3,1,padding=?)", 8, 12): "the first window lies in the padding alone",
    }
    for (code, size, out), note in notes.items():
        assert note in solve(code, in_=size, out=out).text, code


def asks(*args, **numbers):
    return lambda: solve(*args, **numbers)


REFUSED = {
    "nothing is asked": asks("nn.Conv2d(3,3,3)", in_=5, out=3),
    "at most two numbers": asks("nn.Conv2d(3,3,?,?,?)", in_=5, out=3),
    "give the size of the input or of the output": asks("nn.Conv2d(3,3,3)"),
    "asked for one axis at a time": asks("nn.Conv2d(3,3,3)", out=(3, 4)),
    "refconv has no Linear": asks("nn.Linear(3,?)"),
    "knows convolutions and pooling, not Unfold": asks("nn.Unfold(?)", in_=5, out=3),
    "write one ? for all axes of kernel": asks("nn.Conv2d(3,3,(3,?))", in_=5, out=3),
    "padding='same' keeps the size": asks("nn.Conv2d(3,4,?,padding='same')", in_=5, out=5),
    "has in_channels = 3, but in says 5": asks("nn.Conv2d(3,4,?)", in_="5x9x9", out=3),
    "has out_channels = 4, but out says 5": asks("nn.Conv2d(3,4,?)", in_=9, out="5x3x3"),
    "in must be one size, 2 sizes, or a whole shape": asks("nn.Conv2d(3,4,?)", in_="1x2x3x4x5"),
    "in's shape must be sizes": asks("nn.Conv2d(3,4,?)", in_="5x-3", out=3),
    "size must be at least 1, got 0": asks("nn.Conv2d(3,4,?)", in_=0, out=3),
    "kernel must be at least 1, got 0": asks("nn.Conv2d(3,4,0,padding=?)", in_=5, out=3),
    "is not a Python expression": asks("nn.Conv2d(3,4,?", in_=5, out=3),
    "solve needs kernel": asks(padding="?", size=5, out=5),
    "solve has no kernal; did you mean kernel": asks(kernal="?", kernel=3, size=5, out=5),
    "op must be conv, conv_transpose or pool": asks(op="relu", kernel="?", size=5, out=5),
    "only a transposed convolution has": asks(kernel=3, output_padding="?", size=5, out=5),
    "with code, its numbers stand in the code": asks("nn.Conv2d(3,4,?)", size=5, out=5),
}


@pytest.mark.parametrize("message", REFUSED)
def test_questions_that_cannot_be_answered_are_refused(message):
    """Each says what is wrong, in one line."""
    with pytest.raises(UsageError) as raised:
        REFUSED[message]()
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_rest_of_the_code_must_make_sense():
    """Groups that do not divide, and numbers that are none."""
    with pytest.raises(UsageError, match="groups must divide input channels"):
        solve("nn.Conv2d(3,4,?,groups=2)", in_=5, out=3)
    with pytest.raises(ArgumentError, match="kernel must be an int, got str"):
        solve(kernel="3", size=5, out="?")
    with pytest.raises(RefconvError, match="dilation must be an int"):
        solve("nn.Conv2d(3,4,3,padding=?,dilation='a')", in_=9, out=3)


def test_torch_is_not_imported():
    """Nor NumPy: a question of sizes is answered at once."""
    code = (
        "import refconv as rc, sys\n"
        "rc.solve('nn.Conv2d(64,64,4,2,padding=?)', in_=96, out=48)\n"
        "rc.params('nn.Conv2d(3,6,5)'), rc.macs('nn.Conv2d(3,6,5)', '3x9x9')\n"
        "rc.receptive_field(['nn.Conv2d(3,6,5)']), rc.chains(64, 1)\n"
        "rc.sizes_reaching('nn.MaxPool2d(2)', 5)\n"
        "print([m for m in ('torch', 'numpy', 'numba', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
