"""Golden numbers must come out of every CPU backend."""

import pytest


@pytest.fixture(params=["naive", "im2col", "numba"])
def backend(request):
    """A CPU backend's name."""
    return request.param
