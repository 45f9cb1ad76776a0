"""How Sphinx makes the site: ``make docs``. Neither it nor a reader fetches from a network."""

import sys
from pathlib import Path

from refconv import __version__

sys.path.insert(0, str(Path(__file__).resolve().parent / "_ext"))

project = "refconv"
author = copyright = "The refconv authors"
version = release = __version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "commands",
    "docstrings",
    "pictures",
]
exclude_patterns: list[str] = []
smartquotes = False  # two hyphens are two hyphens
html_theme = "furo"
html_title = "refconv"
html_static_path = ["_static"]
html_css_files = ["refconv.css"]
html_copy_source = False

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
# Notebooks keep what they printed; tests/docs runs them again and compares.
nb_execution_mode = "off"

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # signatures are torch's; docstrings say shapes and units
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Source", "Cost"]
