"""The user's files and modules: found, imported, and what goes wrong in them in one line."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from .errors import UsageError


def import_file(path: Path) -> ModuleType:
    """The file as a module; its folder is on the path, as when Python runs it.

    Raises:
        UsageError: there is none, or it fails; with the line.
    """
    if not path.is_file():
        raise UsageError(f"no file {path} (looked in {Path.cwd()})")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    name = f"refconv_user_{path.stem}"
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


def import_module(name: str) -> ModuleType:
    """A module of the current directory, or of Python's path.

    Raises:
        UsageError: there is none, or it fails.
    """
    if not findable(name):
        raise UsageError(f"no module {name} (looked in {Path.cwd()} and Python's path)")
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise UsageError(f"module {name} cannot be imported: {first_line(error)}") from error


def findable(name: str) -> bool:
    """Whether there is a module of this name, in the current directory or on Python's path."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # its parent is no package, or fails
        return False


def first_line(error: BaseException) -> str:
    """An exception's class and the first line of its message.

    Example:
        >>> first_line(ValueError("no such axis")), first_line(KeyboardInterrupt())
        ('ValueError: no such axis', 'KeyboardInterrupt')
    """
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _where(error: BaseException, path: Path) -> str:
    """What went wrong, and in which line of the user's file."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path.absolute())]
    line = error.lineno if isinstance(error, SyntaxError) else next(reversed(lines), None)
    return first_line(error) + (f" (line {line})" if line else "")
