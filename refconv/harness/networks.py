"""Whole networks that the benchmark can be given: the set ``networks``, or a model from a file.

The set is bench/networks.txt: every line is ``name: FILE.py:CLASS --in SHAPE   # source``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import notation
from ..errors import UsageError
from . import cases, modelfile

#: What a network is asked for: its forward, a training step.
WAYS = ("fprop", "train")
ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "bench" / "networks.txt"
SET = "networks"
_LINE = re.compile(r"(?P<name>[\w.+-]+):\s+(?P<spec>\S+) --in (?P<shape>\S+)\s*(# (?P<source>.*))?")


@dataclass(frozen=True)
class Network:
    """A model with the shape of its input.

    Args:
        spec: ``FILE.py:CLASS``, or what else ``modelfile.load`` takes; ``folder``: that the file's
            path is relative to.
        shape: with a batch axis.
    """

    name: str
    spec: str
    shape: tuple[int, ...]
    source: str = ""
    folder: Path = Path()
    dtype: str = "float32"

    @property
    def label(self) -> str:
        """What ``refconv bench`` takes to run it again."""
        return f"{self.spec} --in {'x'.join(map(str, self.shape))}"

    @property
    def path(self) -> str:
        """The spec with a path that can be opened from here."""
        return str(self.folder / self.spec) if ".py" in self.spec else self.spec


def named(spec: str) -> bool:
    """Whether ``spec`` is the set of networks, one of it, or a model."""
    return spec.strip().partition(":")[0] == SET or modelfile.is_model(spec, cases.sets())


def load(spec: str, *, in_shape: str | None = None, dtype: str | None = None) -> list[Network]:
    """The networks of the set (``networks``), one of them (``networks:lenet_N128``), or a model.

    Raises:
        UsageError: no such network, no shape, or the model cannot be built.

    Example:
        >>> load("networks:lenet_N128")[0].label
        'docs/examples/lenet.py:LeNet --in 128x3x32x32'
    """
    name, _, wanted = spec.strip().partition(":")
    kind = dtype or "float32"
    if name == SET:
        found = [n for n in _read(kind) if wanted in ("", n.name)]
        if not found:
            known = [n.name for n in _read(kind)]
            near = notation.near(wanted, known)
            raise UsageError(f"networks has no {wanted!r}{near}; it has {', '.join(known)}")
        return found
    module = modelfile.load(spec, dtype=kind)
    if in_shape is None:
        raise UsageError(f"{spec} does not say how large its input is: add --in, e.g. 1x3x32x32")
    title = type(module).__name__
    return [Network(title, spec.strip(), notation.shape(in_shape), dtype=kind)]


def _read(dtype: str) -> Iterator[Network]:
    """The lines of the set."""
    if not FILE.exists():
        raise UsageError(
            "networks: these are examples of a checkout, bench/networks.txt is not here; "
            "give a model instead, FILE.py:CLASS --in SHAPE"
        )
    for number, line in enumerate(FILE.read_text("utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        if not found:
            raise UsageError(
                f"networks, line {number}: not NAME: FILE.py:CLASS --in SHAPE  # source"
            )
        shape = notation.shape(found["shape"])
        yield Network(found["name"], found["spec"], shape, found["source"] or "", ROOT, dtype)
