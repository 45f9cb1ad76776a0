"""Chains by their sizes: every input that reaches a size is found, and every plain chain leads
there.
"""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from refconv.errors import UsageError
from refconv.learn.chain import chains
from refconv.learn.reaching import sizes_reaching

LENET = (
    "nn.Sequential(nn.Conv2d(3,6,5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6,16,5), nn.ReLU(), "
    "nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400,120))"
)
FEW = settings(max_examples=40, deadline=None)
LAYERS = st.lists(
    st.one_of(
        st.builds(torch.nn.Conv1d, st.just(1), st.just(1), st.integers(1, 4), st.integers(1, 3)),
        st.builds(
            torch.nn.MaxPool1d, st.just(3), st.integers(1, 3), st.integers(0, 1),
            ceil_mode=st.booleans(),
        ),
        st.builds(torch.nn.ConvTranspose1d, st.just(1), st.just(1), st.just(3), st.integers(1, 2),
                  st.integers(0, 1)),
        st.builds(torch.nn.ZeroPad1d, st.integers(-1, 2)),
    ),
    min_size=1, max_size=3,
)  # fmt: skip


def reached(net, size):
    """The output's size, or None where a layer refuses."""
    try:
        with torch.no_grad():
            return net(torch.zeros(1, 1, size)).shape[-1]
    except RuntimeError:
        return None


@FEW
@given(layers=LAYERS, out=st.integers(1, 6))
def test_all_sizes_that_reach_are_found(layers, out):
    """torch, asked for every size up to 100, agrees."""
    net = torch.nn.Sequential(*layers)
    fits = [size for size in range(1, 101) if reached(net, size) == out]
    assert [size for size in sizes_reaching(net, out).sizes if size <= 100] == fits


def test_which_inputs_reach_five_after_lenet():
    """32 to 35, and on the way from 32 nothing is left over."""
    found = sizes_reaching(LENET, 5)
    assert found.sizes == (32, 33, 34, 35)
    assert found.exact == ((32,),)
    assert found.paths[0][0] == (32, 28, 14, 10, 5)
    assert [line.split("  ")[-1].strip() for line in found.text.splitlines()] == [
        "32 to 35 reach 5x5", "32 to 35", "28 to 31", "14 to 15", "10 to 11", "5",
        "nothing is left over on the way from 32",
    ]  # fmt: skip
    assert json.loads(found.to_json())["axes"] == [[32, 33, 34, 35]]
    assert sizes_reaching(LENET, (5, 5)).sizes == found.sizes
    assert sizes_reaching("lenet", 5).paths == found.paths  # a model, by its name
    assert sizes_reaching(LENET, (5, 6)).sizes == ((32, 33, 34, 35), (36, 37, 38, 39))


def test_none_or_some_reach():
    """Axes of their own, no size at all, sizes with gaps."""
    odd = sizes_reaching(["nn.Conv2d(3,6,(5,3))", "nn.MaxPool2d(2)"], (5, 7))
    assert odd.sizes == ((14, 15), (16, 17))
    assert odd.text.startswith("14 to 15 by 16 to 17 reach 5x7")
    none = sizes_reaching("nn.ConvTranspose2d(3,6,4,2,1)", 7)
    assert (none.sizes, none.text) == ((), "no size reach 7x7")


def test_chains_without_an_answer_are_refused():
    """Adaptive pooling, no windows, another number of axes."""
    with pytest.raises(UsageError, match="gives its size whatever the input's is"):
        sizes_reaching(["nn.Conv2d(3,3,3)", torch.nn.AdaptiveAvgPool2d(2)], 2)
    with pytest.raises(UsageError, match="no layer that changes sizes"):
        sizes_reaching("nn.ReLU()", 2)
    with pytest.raises(UsageError, match="does not follow the one before"):
        sizes_reaching("inception", 2)
    with pytest.raises(UsageError, match="out must be one size or 2"):
        sizes_reaching("nn.Conv2d(3,3,3)", (2, 2, 2))
    for numbers, name in (((0, 1), "size"), ((4, 0), "out"), ((4, 1, 0), "layers")):
        with pytest.raises(UsageError, match=f"chains: {name} must be an int of at least 1"):
            chains(*numbers)
    with pytest.raises(UsageError, match="at most 16 layers"):
        chains(4, 1, 17)


@FEW
@given(size=st.integers(1, 80), out=st.integers(1, 80), layers=st.integers(1, 5))
def test_every_chain_leads_there(size, out, layers):
    """torch walks through each of them."""
    found = chains(size, out, layers, most=4)
    assert found.transposed == (out > size)
    made = torch.nn.ConvTranspose1d if found.transposed else torch.nn.Conv1d
    for chain in found.chains:
        x = torch.zeros(1, 1, size)
        sizes = [size]
        for axis in chain.axes:
            numbers = {"output_padding": axis.output_padding} if found.transposed else {}
            with torch.no_grad():
                x = made(1, 1, axis.kernel, axis.stride, axis.padding[0], **numbers)(x)
            sizes.append(x.shape[-1])
        assert (tuple(sizes), len(chain.axes)) == (chain.sizes, layers)
        assert sizes[-1] == out
    assert len({chain.text for chain in found.chains}) == len(found.chains)


@pytest.mark.parametrize(
    ("size", "out", "layers", "first", "sizes"),
    [
        (64, 1, 4, "k4 s2 p1 (3x), k8 s1 p0", (64, 32, 16, 8, 1)),
        (64, 1, 5, "k4 s2 p1 (4x), k4 s1 p0", (64, 32, 16, 8, 4, 1)),  # DCGAN's discriminator
        (1, 64, 5, "k4 s1 p0, k4 s2 p1 (4x)", (1, 4, 8, 16, 32, 64)),  # and its generator
        (96, 6, 4, "k4 s2 p1 (4x)", (96, 48, 24, 12, 6)),  # NetD
        (28, 1, 3, "k4 s2 p1 (2x), k7 s1 p0", (28, 14, 7, 1)),
        (28, 1, 4, "k4 s2 p1 (3x), k3 s1 p0", (28, 14, 7, 3, 1)),  # alike before exact
        (28, 3, 2, "k4 s2 p1, k12 s1 p0", (28, 14, 3)),  # large before leaving cells over
        (7, 7, 2, "k3 s1 p1 (2x)", (7, 7, 7)),
        (64, 1, 1, "k64 s1 p0", (64, 1)),
    ],
)
def test_the_plainest_chain_is_what_a_net_would_have(size, out, layers, first, sizes):
    """The halvings and doublings of the nets that people write."""
    found = chains(size, out, layers)
    assert (found.chains[0].text, found.chains[0].sizes) == (first, sizes)
    assert first in found.text.splitlines()[0]
    assert json.loads(found.to_json())["chains"][0]["sizes"] == list(sizes)


def test_a_chains_field_and_an_impossible_one():
    """The receptive field of the last layer stands beside it."""
    best = chains(64, 1, 5, most=1).chains[0]
    assert (best.field.size, best.field.stride) == (94, 16)
    none = chains(80, 79, 5)
    assert chains(1, 79, 1).chains == ()
    assert "no plain chain does it" in chains(1, 79, 1).text
    assert none.chains[0].sizes[-1] == 79
