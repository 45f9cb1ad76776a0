"""The drawings of docs/learn show what the code computes now."""

import doctest
import importlib.util
import os
import re
import sys

import pytest

from tests.docs.pages import DOCS, LEARN

FOLDER = DOCS / "images" / "learn"


@pytest.fixture(scope="module")
def drawings():
    """docs/figures as a module."""
    path = DOCS / "figures" / "__main__.py"
    spec = importlib.util.spec_from_file_location("drawings", path)
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = before


def test_no_picture_is_stale(drawings):
    """The numbers in each are those that are computed here (``python docs/figures`` redraws)."""
    assert drawings.stale() == []


def test_other_numbers_make_a_picture_stale(drawings, monkeypatch):
    """The check above can fail: a window that begins elsewhere."""
    assert drawings.stale(("pools", "tile")) == []
    monkeypatch.setattr(drawings.data.window, "pool_window", lambda o, *rest: (o, o + 1))
    assert drawings.stale(("pools", "tile")) == ["pools"]


def test_drawing_gives_the_same_words(drawings):
    """Drawn again, text is text, the same as in the file, and ink follows the page."""
    some = ("columns", "errors", "tile")
    for name in drawings.NAMES if os.environ.get("REFCONV_TESTS") == "thorough" else some:
        made, kept = drawings.picture(name), (FOLDER / f"{name}.svg").read_text()
        words = [re.findall(r"<text[^>]*>(.*?)</text>", svg, re.DOTALL) for svg in (made, kept)]
        assert words[0] == words[1], name
        assert len(words[0]) >= 4
        assert "currentColor" in kept
        assert "prefers-color-scheme" in kept


def test_every_picture_is_shown(drawings):
    """And every picture that a chapter shows is one of them."""
    pages = "".join(p.read_text() for p in LEARN.glob("*.md"))
    assert set(re.findall(r"images/learn/(\w+)\.svg", pages)) == set(drawings.NAMES)


def test_examples_in_the_data(drawings):
    """Its doctests, which pytest does not collect."""
    failed, tried = doctest.testmod(drawings.data)
    assert tried
    assert not failed
