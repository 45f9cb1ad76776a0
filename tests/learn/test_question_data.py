"""The questions as data: complete, the same figures in both languages, arithmetic that holds; and
the wrong answers are wrong by torch itself.
"""

import ast
import math
import operator
import re
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

import refconv as rc
from refconv.learn.questions import questions

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
each = pytest.mark.parametrize("question", questions(), ids=lambda q: str(q.id))


def figures(text):
    """The numbers in a text; thousands may have commas."""
    return set(re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", text))


def value(text):
    """The value of arithmetic as it is written for people, or None if it is something else."""
    plain = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text.translate(str.maketrans("·×−", "**-")))
    try:
        return _value(ast.parse(plain.strip(), mode="eval").body)
    except (SyntaxError, KeyError):
        return None


def _value(node):
    match node:
        case ast.BinOp():
            return OPERATORS[type(node.op)](_value(node.left), _value(node.right))
        case ast.Call(func=ast.Name(id="floor" | "ceil" as name), args=[inner]):
            return getattr(math, name)(_value(inner))
        case ast.Constant(value=int() | float() as number):
            return number
    raise KeyError(node)


def claims(text):
    """``(left, right)``, as values, wherever both sides of a ``=`` are arithmetic."""
    for left, right in pairwise(text.split("=")):
        begins = [
            i
            for i in range(len(left))
            if not re.search(r"[\w.]$|[-+*/·×−]\s*$", left[:i])  # not within a word or a sum
        ]
        ends = range(len(right), 0, -1)
        before = next((v for i in begins if (v := value(left[i:])) is not None), None)
        after = next((v for i in ends if (v := value(right[:i])) is not None), None)
        if before is not None and after is not None:
            yield before, after


def test_there_are_34():
    """In the order in which people asked."""
    assert [q.id for q in questions()] == list(range(1, 35))


@each
def test_complete(question):
    """A number is asked for, or there are choices; a wrong answer is not the right one."""
    assert (question.kind == "choice") == bool(question.choices)
    if question.choices:
        assert question.answer in range(len(question.choices))
        assert len({c.en for c in question.choices}) == len(question.choices)
    for wrong in question.wrong:
        given = wrong.choice if question.kind == "choice" else wrong.value
        assert given is not None
        assert given != question.answer


@each
def test_both_languages_say_the_same_figures(question):
    """The Chinese has the numbers of the English; the number asked for stands in the answer."""
    for en, zh in [(question.en, question.zh), *((w.en, w.zh) for w in question.wrong)]:
        for field in en.__struct_fields__:
            said, same = getattr(en, field), getattr(zh, field)
            assert figures(said) == figures(same), f"{said} | {same}"
    assert re.search(r"[\u4e00-\u9fff]", question.zh.q)
    if question.kind == "number":
        assert {str(question.answer), f"{question.answer:,}"} & figures(question.en.a)


def sentences():
    """Everything that is said to be true, in both languages."""
    for question in questions():
        for language in ("en", "zh"):
            said = getattr(question, language)
            yield from (said.q, said.a)
            yield from (getattr(wrong, language).why for wrong in question.wrong)


def test_arithmetic_holds():
    """Every sum that an answer writes out."""
    assert list(claims("28 → floor((7 − 5)/3) + 1 = 1; D1 = 5·5·3 = 76, k + 1 = 3")) == [
        (1, 1),
        (75, 76),
    ]
    made = [(sentence, *claim) for sentence in sentences() for claim in claims(sentence)]
    assert len(made) >= 40
    for sentence, left, right in made:
        assert left == right, sentence


def test_pools_count():
    """Question 2: with the convolutions alone 24 would be left of 32."""
    assert rc.out_size(rc.out_size(32, 5), 5) == 24


def test_rounded_down():
    """Question 8: a convolution never rounds up."""
    assert F.conv2d(torch.ones(1, 1, 8, 8), torch.ones(1, 1, 3, 3), stride=2).shape[-1] == 3


@pytest.mark.filterwarnings("ignore:Using padding:UserWarning")
def test_torch_has_same():
    """Question 9: for stride 1, and only for it."""
    x, w = torch.ones(1, 1, 9, 9), torch.ones(1, 1, 4, 4)
    assert F.conv2d(x, w, padding="same").shape == x.shape
    with pytest.raises(RuntimeError, match="same"):
        F.conv2d(x, w, stride=2, padding="same")


def test_no_half_padding():
    """Question 18: neither 1 nor 2 on both sides keeps 32; torch adds the odd zero at the right."""
    assert [rc.out_size(32, 4, 1, p) for p in (1, 2)] == [31, 33]
    x, w = torch.arange(8.0).view(1, 1, 8), torch.tensor([[[1.0, 2, 3, 4]]])
    assert torch.equal(F.conv1d(x, w, padding="same"), F.conv1d(F.pad(x, (1, 2)), w))
    assert not torch.equal(F.conv1d(x, w, padding="same"), F.conv1d(F.pad(x, (2, 1)), w))


def test_the_functional_form_is_in_the_graph():
    """Question 21: grad_fn, and a gradient for the weight."""
    w = torch.ones(1, 1, 2, 2, requires_grad=True)
    y = F.conv2d(torch.ones(1, 1, 2, 2), w)
    assert y.grad_fn.name() == "ConvolutionBackward0"
    y.sum().backward()
    assert w.grad.sum() == 4


def test_channels_come_second():
    """Question 25: channels behind are refused; permuted, they are right."""
    x, conv = torch.ones(2, 8, 9, 3), torch.nn.Conv2d(3, 4, 3)
    with pytest.raises(RuntimeError, match="3 channels, but got 8"):
        conv(x)
    assert conv(x.permute(0, 3, 1, 2)).shape == (2, 4, 6, 7)


def test_the_printed_samples_do_not_run():
    """Question 26: conv2d refuses the 5-D input, and nothing is called Variables."""
    x, w = (
        torch.empty(shape, device="meta") for shape in [(20, 16, 50, 10, 20), (33, 16, 3, 3, 3)]
    )
    with pytest.raises(RuntimeError, match=r"3D .* or 4D"):
        F.conv2d(x, w)
    assert F.conv3d(x, w).shape == (20, 33, 48, 8, 18)
    assert not hasattr(torch.autograd, "Variables")
