"""The notebooks print what is kept in them."""

import copy
import importlib.util

import pytest

from tests.docs.pages import DOCS

FOLDER = DOCS / "gallery"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
#: Cells that take seconds and whose output depends on how many there are.
VARIES = "varies"


@pytest.fixture(scope="module")
def gallery():
    """docs/gallery as a module."""
    spec = importlib.util.spec_from_file_location("gallery", FOLDER / "__main__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[p.stem for p in NOTEBOOKS])
def test_prints_what_is_kept(gallery, path):
    """Each cell again; ``python docs/gallery`` keeps what comes."""
    kept = gallery.read(path)
    assert gallery.run(copy.deepcopy(kept), skip=VARIES) == kept
    code = [c for c in kept["cells"] if c["cell_type"] == "code"]
    assert sum(bool(c["outputs"]) for c in code) >= len(code) - 1 >= 4


def test_another_output_is_noticed(gallery):
    """The check above can fail."""
    cell = {"cell_type": "code", "metadata": {}, "source": ["1 + 1"], "outputs": []}
    made = gallery.run({"cells": [cell]})["cells"][0]["outputs"]
    assert made[0]["data"] == {"text/plain": ["2"]}


def test_notebooks_are_listed():
    """Each is in the index."""
    text = (FOLDER / "index.md").read_text()
    assert all(p.stem in text for p in NOTEBOOKS)
    assert len(NOTEBOOKS) == 2
