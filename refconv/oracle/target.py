"""The function to be judged, from text: torch's, one of our backends', or the user's own.

``torch``; ``torch.nn.functional:conv2d``; ``naive`` or ``numba:direct``; ``module:function``, from
the current directory too; ``file.py:function``, or ``file.py`` where the function is called like
the op. It is called as torch's is: ``function(input, weight, bias, stride=…, padding=…)``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from .. import functional
from ..backends import get, registry, require
from ..errors import UsageError
from ..notation import near
from ..usercode import findable, import_file, import_module
from . import calls

_FILE = re.compile(r"(?P<file>\S.*\.py)(:(?P<name>[\w.]*))?")
_MODULE = re.compile(r"(?P<module>[A-Za-z_]\w*(\.\w+)*):(?P<name>[A-Za-z_][\w.]*)")
HELP = "torch, a backend (naive, numba:direct), module:function or file.py:function"


@dataclass(frozen=True)
class Target:
    """A function with torch's signature of ``op``.

    Args:
        name: as the user wrote it.
        device: the only device it runs on; empty if it runs wherever its arrays are.
    """

    name: str
    op: str
    function: Callable[..., Any]
    device: str = ""

    def __getattr__(self, name: str) -> Any:
        """The function under its op's name, and torch's other functions: what ``calls`` asks."""
        if name.startswith("__"):
            raise AttributeError(name)
        return self.function if name == self.op else getattr(torch.nn.functional, name)

    def results(self, problem: Any, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Run once; every result by name: ``output`` and, for max pooling, ``indices``."""
        return calls.results(self, problem, dict(arrays))


def is_target(text: str) -> bool:
    """Whether ``text`` reads as a function: ``torch``, one of our backends, a file, or a module
    that can be found.
    """
    if text == "torch" or text.partition(":")[0] in registry():
        return True
    if re.fullmatch(r"\S*\.py(:[\w.]*)?", text):
        return True
    found = _MODULE.fullmatch(text)
    return found is not None and findable(found["module"])


def load(spec: str, op: str) -> Target:
    """The function that ``spec`` names, for ``op``.

    Raises:
        UsageError: no such file, module or function, it is no function, or its file fails.
        UnavailableError: our backend of that name cannot be used here.
    """
    spec = spec.strip()
    if spec == "torch":
        spec_function = getattr(torch.nn.functional, op, None)
        if spec_function is None:
            raise UsageError(f"torch {torch.__version__} has no function {op}")
        return Target("torch", op, spec_function)
    name, _, algorithm = spec.partition(":")
    if name in registry():
        backend = require(name)
        known = sorted({a.name for algorithms in get(name).slots.values() for a in algorithms})
        if algorithm and algorithm not in known:
            raise UsageError(f"{spec!r}: {name} has no such algorithm; it has {', '.join(known)}")
        return Target(spec, op, partial(getattr(functional, op), backend=spec), backend.device)
    function = attribute(spec, default=op)
    if not callable(function):
        raise UsageError(f"{spec} is a {type(function).__name__}, not a function")
    return Target(spec, op, function)


def attribute(spec: str, default: str = "") -> Any:
    """What ``module:name`` or ``file.py:name`` names; what it is, is not checked.

    Args:
        default: the name where ``spec`` is a file alone.

    Raises:
        UsageError: no such file, module or name, or the file cannot be imported.
    """
    if found := _FILE.fullmatch(spec):
        module = import_file(Path(found["file"]))
        where, name = found["file"], found["name"] or default
    elif found := _MODULE.fullmatch(spec):
        module = import_module(found["module"])
        where, name = found["module"], found["name"]
    else:
        raise UsageError(f"{spec!r} names no function; write {HELP}")
    value: Any = module
    for part in name.split("."):
        if not hasattr(value, part):
            own = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
            has = f"it has {', '.join(own[:12])}" if own else "it defines no function"
            raise UsageError(f"{where} has no {name!r}; {has}{near(name, own)}")
        value = getattr(value, part)
    return value
