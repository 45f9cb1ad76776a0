"""A function from text: torch's, ours, the user's; and every way to get it wrong, in one line."""

import pytest
import torch

from refconv import label
from refconv.errors import UnavailableError, UsageError
from refconv.oracle import inputs, target

CASE = label.read("conv2d x[2,4,7,6] w[6,4,3,2] b s2 p1:2,0")
OWN = """
import torch
def conv2d(*args, **kw): return torch.nn.functional.conv2d(*args, **kw)
def twice(*args, **kw): return 2 * conv2d(*args, **kw)
class Ops: conv2d = staticmethod(twice)
number = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with a user's module, as the current one."""
    (tmp_path / "user_ops.py").write_text(OWN)
    (tmp_path / "broken.py").write_text("x = 1\nraise OSError('no disk')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("spec", "factor"),
    [
        ("torch", 1),
        ("torch.nn.functional:conv2d", 1),
        ("numba", 1),
        ("naive:loops", 1),
        ("user_ops:conv2d", 1),
        ("user_ops.py", 1),
        ("user_ops.py:twice", 2),
        ("user_ops:Ops.conv2d", 2),
    ],
)
def test_a_function_is_found_and_called_like_torchs(own, spec, factor):
    assert target.is_target(spec)
    found = target.load(spec, "conv2d")
    arrays = inputs.make(CASE, "integer")
    padded = torch.nn.functional.pad(arrays["input"], (0, 0, 1, 2))
    want = torch.conv2d(padded, arrays["weight"], arrays["bias"], stride=2)
    assert found.name == spec
    ours = spec.startswith(("numba", "naive"))
    assert getattr(found.function, "keywords", {}) == ({"backend": spec} if ours else {})
    assert torch.equal(found.results(CASE, arrays)["output"], factor * want)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("user_ops:conv3", "has no 'conv3'; it has conv2d, twice, Ops; did you mean conv2d?"),
        ("user_ops.py:number", "is a int, not a function"),
        ("missing.py:conv2d", "no file missing.py"),
        ("missing_ops:conv2d", "no module missing_ops"),
        ("broken:conv2d", "cannot be imported: OSError: no disk"),
        ("broken.py:conv2d", "cannot be imported: OSError: no disk (line 2)"),
        ("numba:fft", "numba has no such algorithm; it has depthwise, direct,"),
        ("conv2d", "names no function; write torch, a backend"),
    ],
)
def test_a_mistake_is_explained(own, spec, words):
    with pytest.raises(UsageError) as caught:
        target.load(spec, "conv2d")
    assert words in str(caught.value)


def test_a_backend_that_cannot_be_used_is_not_replaced():
    from refconv.backends import unavailable

    if unavailable("cupy") is None:
        pytest.skip("CuPy can be used here")
    with pytest.raises(UnavailableError):
        target.load("cupy", "conv2d")


@pytest.mark.parametrize("text", ["resnet50", "conv2d x[1,2]", "nn.Conv2d(1,2,3)", "mb1ic2", ""])
def test_a_case_is_no_function(text):
    assert not target.is_target(text)
