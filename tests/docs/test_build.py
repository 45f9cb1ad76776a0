"""The site's own extensions, on a site of a few pages; ``make docs`` builds the whole."""

import doctest
import importlib.util
import subprocess
import sys

import pytest

from tests.docs.pages import DOCS

if importlib.util.find_spec("myst_nb") is None:
    pytest.skip("the extra docs is not installed", allow_module_level=True)

PAGES = {
    "index.md": "# Site\n\n```{toctree}\npage\n```\n",
    "page.md": """# Page

[gone](gone.md)

![Alt text](images/learn/tile.svg)

```{eval-rst}
.. automodule:: refconv.window
   :members: out_size

.. autofunction:: refconv.testing.assert_conv_close
```
""",
}


def test_builds(tmp_path):
    """A drawing stands in the page, with its text; docstrings become sections. The one broken link
    is the one warning, and an error.
    """
    pictures = tmp_path / "images" / "learn"
    pictures.mkdir(parents=True)
    (pictures / "tile.svg").write_text((DOCS / "images" / "learn" / "tile.svg").read_text())
    for name, text in PAGES.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "--no-color", "-c",
               str(DOCS)]  # fmt: skip
    done = subprocess.run([*command, tmp_path, tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode != 0
    assert [line for line in done.stderr.splitlines() if "WARNING" in line] == [
        f"{tmp_path / 'page.md'}:3: WARNING: 'myst' cross-reference target not found: 'gone.md' "
        "[myst.xref_missing]"
    ]
    page = (tmp_path / "out" / "page.html").read_text()
    assert 'class="refconv-drawing" role="img" aria-label="Alt text"' in page
    assert "FMAs for 8 loads a step" in page
    assert "x (N, C, *in), w (K, C/groups, *kernel)" in page
    assert "http" not in page.partition("<body")[0]


@pytest.mark.parametrize("name", ["commands", "docstrings", "pictures"])
def test_examples_of_the_extensions(name):
    """Their doctests, which pytest does not collect."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "_ext" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    failed, tried = doctest.testmod(module)
    assert tried
    assert not failed
