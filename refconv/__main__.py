"""``python -m refconv`` is the ``refconv`` command."""

from .cli import run

run()
