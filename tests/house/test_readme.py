"""The READMEs are fresh: generated blocks are what the registry and the records say."""

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


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_blocks_are_filled(generator, name):
    """Every block is there, and none is empty."""
    text = (ROOT / name).read_text()
    for block in generator.BLOCKS:
        match = re.search(rf"<!-- begin {block} -->\n(.*?)<!-- end {block} -->", text, re.DOTALL)
        assert match, f"{name} has no block {block}"
        assert len(match[1]) > 100


@pytest.mark.parametrize("name", ["README.md", "README.zh.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(name):
    """Relative links point at files that exist."""
    text = (ROOT / name).read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / target).exists(), f"{name} links to {target}"
