"""The function to be judged, from text: torch's, one of our backends', or the user's own.

``torch``; ``torch.nn.functional:conv2d``; ``naive`` or ``numba:direct``; ``module:function``, from
the current directory too; ``file.py:function``, or ``file.py`` where the function is called like
the op. It is called as torch's is: ``function(input, weight, bias, stride=…, padding=…)``.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from .. import functional
from ..backends import get, registry, require
from ..errors import UsageError
from ..notation import near
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
    return found is not None and _findable(found["module"])


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
        module = _from_file(Path(found["file"]))
        where, name = found["file"], found["name"] or default
    elif found := _MODULE.fullmatch(spec):
        module = _from_module(found["module"])
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


def _from_file(path: Path) -> ModuleType:
    """The file as a module; its folder is on the path, as when Python runs it."""
    if not path.is_file():
        raise UsageError(f"no file {path} (looked in {Path.cwd()})")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    name = f"refconv_target_{path.stem}"
    found = importlib.util.spec_from_file_location(name, path.absolute())
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # pickling and dataclasses look there
    try:
        found.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UsageError(f"{path} cannot be imported: {_where(error, path)}") from error
    return module


def _from_module(name: str) -> ModuleType:
    if not _findable(name):
        raise UsageError(f"no module {name} (looked in {Path.cwd()} and Python's path)")
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise UsageError(f"module {name} cannot be imported: {first_line(error)}") from error


def _findable(name: str) -> bool:
    """Whether there is a module of this name, in the current directory or on Python's path."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # its parent is no package, or fails
        return False


def first_line(error: BaseException) -> str:
    """An exception's class and the first line of its message."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _where(error: BaseException, path: Path) -> str:
    """What went wrong, and in which line of the user's file."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path.absolute())]
    line = error.lineno if isinstance(error, SyntaxError) else next(reversed(lines), None)
    return first_line(error) + (f" (line {line})" if line else "")
