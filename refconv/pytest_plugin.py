"""pytest: the fixture ``refconv_check``, and a section ``refconv_repro`` in a failure's report.

Loaded by pytest itself where refconv is installed; imports nothing heavy until a test asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest


@pytest.fixture
def refconv_check() -> Callable[..., Any]:
    """``refconv.testing.check``: judge a function on all of the oracle's cases.

    Example:
        ``def test_kernel(refconv_check): refconv_check(mykernels.conv2d, "conv2d", budget=20)``
    """
    from .testing import check

    return check


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Generator[None, Any, None]:
    """Show the repro of an oracle's failure in a section of its own."""
    outcome = yield
    repro = getattr(getattr(call.excinfo, "value", None), "repro", "")
    if repro:
        outcome.get_result().sections.append(("refconv_repro", repro))
