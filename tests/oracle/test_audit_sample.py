"""A sample of a result: the same numbers and bounds as the whole, and cells everywhere."""

import numpy as np
import pytest
import torch

from refconv import label
from refconv.oracle import aten, inputs, sampling

CELLS = [
    "conv2d x[2,6,9,8] w[8,3,3,2] b s2,1 p1,0 d1,2 g2",
    "conv3d x[1,4,5,6,4] w[6,4,2,3,2] b s2 p1",
    "conv_transpose2d x[2,6,5,4] w[6,4,3,2] b s2,3 p1,0 op1,2 g2",
    "max_pool2d x[5,40,9,8] k3 s2 p1",
    "avg_pool2d x[2,40,9,8] k3 s2 p1 ceil exclude_pad",
    "fold x[40,18,9] o5 k3",
    "max_unpool2d x[9,14,5,4] o9,8",
    "pad x[2,40,9,8] p1:2,2:1 reflect",
]


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize(
    ("text", "dtype"),
    [(t, "float32") for t in CELLS] + [(t, "complex64") for t in CELLS[:3]],
)
def test_a_sample_is_a_part_of_the_whole(text, dtype, backward):
    problem = label.parse(text, dtype=dtype)
    arrays, grad = inputs.make(problem, "real"), inputs.gradient(problem, "real")
    names = ["output", "indices"] if "max_pool" in text else ["output"]
    if backward:
        names = [f"grad_{n}" for n in arrays if n != "indices"]
    seen = aten.Seen(problem, arrays, grad if backward else None, dict.fromkeys(names))
    whole = {s.expected.name: s for s in sampling.whole(seen)}
    some = {s.expected.name: s for s in sampling.some(seen, work=1.0)}
    assert set(some) == set(whole) == set(names)
    for name, part in some.items():
        want = whole[name].expected.want
        assert part.shape == want.shape
        assert part.chosen is not None or want.size <= sampling.FEWEST
        taken = part.take(torch.from_numpy(want)).numpy()
        assert taken.size > 0
        np.testing.assert_allclose(part.expected.want, taken, rtol=1e-12, atol=1e-12)
        bound, limit = part.expected.bound().tolerance, whole[name].expected.bound().tolerance
        if limit is not None:
            limit = torch.from_numpy(np.array(np.broadcast_to(limit, want.shape)))
            np.testing.assert_allclose(
                np.broadcast_to(bound, taken.shape), part.take(limit).numpy(), rtol=1e-9
            )
        for index in (tuple(s - 1 for s in taken.shape), (0,) * taken.ndim):
            assert taken[index] == want[part.at(index)]


def test_a_sample_has_the_corners_both_ends_and_every_channel():
    shape, count = (2, 200, 30, 40), 1000
    cells = np.stack(np.unravel_index(sampling.pick(shape, count), shape), axis=1)
    assert count * 0.9 < len(cells) <= count
    assert set(cells[:, 1]) == set(range(200))
    for axis, size in enumerate(shape):
        for end in (0, size - 1):
            assert (cells[:, axis] == end).sum() > 20
    for corner in np.ndindex(2, 2, 2, 2):
        wanted = [0 if c == 0 else s - 1 for c, s in zip(corner, shape, strict=True)]
        assert (cells == wanted).all(axis=1).any()
    assert np.array_equal(sampling.pick(shape, count), sampling.pick(shape, count))
    assert np.array_equal(sampling.pick((3, 4), 50), np.arange(12))


def test_infinity_is_no_term_of_cells_whose_window_does_not_reach_it():
    problem = label.parse("conv2d x[1,2,12,11] w[3,2,3,3] p1")
    arrays = inputs.make(problem, "real")
    arrays["input"][0, 0, 0, 0] = torch.inf
    seen = aten.Seen(problem, arrays, None, {"output": None})
    [whole], [part] = sampling.whole(seen), sampling.some(seen, work=1.0)
    want = part.take(torch.from_numpy(whole.expected.want)).numpy()
    assert np.isinf(want).any()
    np.testing.assert_allclose(part.expected.want, want, rtol=1e-12)
