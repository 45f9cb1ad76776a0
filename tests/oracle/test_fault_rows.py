"""The planted faults themselves: each differs from torch where it bites, and nowhere else."""

import inspect
import pickle
from collections import Counter

import pytest
import torch
from torch.nn import functional as F

from .faults import FAULTS, NOT_PLANTABLE, UNLISTED
from .faults.call import rank_of
from .faults.probes import case, gradients

ROWS = FAULTS + UNLISTED
BODIES = {}
for row in ROWS:
    BODIES.setdefault(f"{row.id}-{row.function.__name__.removesuffix('_' + row.op)}", []).append(
        row
    )
CONV = case(gradients, x=(2, 4, 6, 7, 8), w=(6, 4, 2, 3, 2), b=6)
POOL = {"x": (2, 3, 6, 4, 8), "kernel_size": 2, "stride": 2}
CELLS = torch.tensor([[0, 5], [9, 14]])
PLAIN = {
    "conv": CONV,
    "conv_transpose": case(gradients, x=(2, 4, 3, 4, 5), w=(4, 3, 2, 3, 2), b=3),
    "max_pool": case(gradients, **POOL),
    "avg_pool": case(gradients, **POOL),
    "lp_pool": case(gradients, **POOL, norm_type=2),
    "adaptive_avg_pool": case(gradients, x=POOL["x"], output_size=2),
    "adaptive_max_pool": case(gradients, x=POOL["x"], output_size=2),
    "max_unpool": case(
        gradients,
        x=(2, 3, 1, 2, 2),
        kernel_size=2,
        change=lambda a: {**a, "indices": index_like(a["input"])},
    ),
    "unfold": case(gradients, x=(2, 3, 4, 6), kernel_size=2, stride=2),
    "fold": case(gradients, x=(2, 12, 6), output_size=(4, 6), kernel_size=2, stride=2),
    "pad": case(gradients, x=(2, 3, 4, 5), pad=(1, 2)),
}
EXACT = {torch.float64: 1e-11, torch.complex128: 1e-11, torch.float32: 3e-6}


def index_like(x):
    """Distinct places in a plane of any rank."""
    return torch.arange(x[0, 0].numel()).view(x.shape[2:]).expand(x.shape).contiguous()


def plain(row):
    family = row.op if row.op in PLAIN else row.op[:-2]
    return PLAIN[family].at(rank_of(row.op))


def seen(probe, function):
    """What the probe saw, or the refusal."""
    try:
        return probe(function)
    except (RuntimeError, ValueError) as error:
        return type(error)


def equal(a, b):
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(equal, a, b)) if isinstance(b, tuple) else False
    if not (isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor)):
        return a is b or a == b
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return False
    if not (a.is_floating_point() or a.is_complex()):
        return torch.equal(a, b)
    near = EXACT.get(a.dtype, 2e-3)
    finite = a.detach()[a.isfinite()].abs()
    scale = float(finite.max()) if finite.numel() else 0.0
    return torch.allclose(a, b, rtol=near, atol=near * scale, equal_nan=True)


@pytest.mark.parametrize("rows", BODIES.values(), ids=BODIES)
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_a_fault_shows_where_it_bites(rows):
    for row in rows:
        right = seen(row.witness, row.right or getattr(F, row.op))
        wrong = seen(row.witness, row.function)
        assert not equal(right, wrong), row
        refusal = isinstance(right, type) or isinstance(wrong, type)
        assert not refusal or {"error", "refus"} & set(row.causes), row


@pytest.mark.parametrize("rows", BODIES.values(), ids=BODIES)
def test_and_nowhere_else(rows):
    for row in rows:
        probe = row.benign or plain(row)
        assert equal(probe(getattr(F, row.op)), probe(row.function)), row


def test_rows_are_complete():
    for row in ROWS:
        assert row.text, row
        assert all(word == word.lower().strip() != "" for word in row.causes), row
        assert next(iter(inspect.signature(row.function).parameters)) == "input", row
        assert pickle.loads(pickle.dumps(row.function)) is row.function, row


def test_the_lists():
    listed = {row.id for row in FAULTS}
    assert not listed & set(NOT_PLANTABLE)
    assert len({row.id for row in UNLISTED}) >= 30
    names = Counter((row.function.__module__, row.function.__name__) for row in ROWS)
    assert set(names.values()) == {1}
