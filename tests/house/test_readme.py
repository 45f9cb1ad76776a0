"""The READMEs are fresh: generated blocks are what the registry and the records say."""

import doctest
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def generator():
    """docs/readme.py as a module."""
    spec = importlib.util.spec_from_file_location("readme", ROOT / "docs" / "readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_blocks_are_fresh(generator, capsys):
    """``make readme`` would change nothing."""
    assert generator.main(check=True) == 0, capsys.readouterr().out


def test_a_stale_block_is_noticed(generator):
    """The freshness check can fail."""
    text = (ROOT / "README.md").read_text()
    assert generator.rewritten(text.replace("`rows`", "`fast`", 1)) == text
    assert text.replace("`rows`", "`fast`", 1) != text


def blocks(path):
    """Name → text of every marked block of a page."""
    pattern = r"<!-- begin (\w+) -->\n(.*?)<!-- end \1 -->"
    return {m[1]: m[2] for m in re.finditer(pattern, path.read_text(), re.DOTALL)}


def test_blocks_are_filled(generator):
    """Every block is on a page, none is empty, and both READMEs have the same ones."""
    pages = {path: blocks(path) for path in generator.PAGES}
    assert {name for found in pages.values() for name in found} == set(generator.BLOCKS)
    english, chinese = (list(pages[path]) for path in generator.READMES)
    assert english == chinese
    for found in pages.values():
        assert all(len(text) > 50 for text in found.values())


def test_examples_in_the_generator_hold(generator):
    """The doctests of the modules under docs, which pytest does not collect."""
    for module in (generator.asked, generator.speed, generator.scaling, generator.ladder):
        failed, tried = doctest.testmod(module)
        assert tried
        assert not failed


def test_what_is_not_recorded_is_said(generator):
    """No figure without a record, and the command that makes it."""
    for name, text in generator.speed.COMMANDS.items():
        if generator.speed.recorded(name) is None:
            assert text in generator.speed.unrecorded(name)
    recorded = generator.speed.recorded("scaling") is not None
    assert ("scaling.svg" in generator.speed.growth()) == recorded


def test_a_chart_of_other_records_is_stale(generator, monkeypatch, capsys):
    """The mark in the picture is of the record that it was drawn of."""
    made = generator.speed.recorded("cpu")
    assert generator.main(check=True) == 0
    monkeypatch.setattr(generator.speed, "recorded", lambda name: made)
    assert generator.main(check=True) == 1
    assert "scaling.svg" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["README.md", "README.zh.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(name):
    """Relative links point at files that exist."""
    text = (ROOT / name).read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / target).exists(), f"{name} links to {target}"
