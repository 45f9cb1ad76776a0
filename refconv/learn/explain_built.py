"""Why a model could not be built: ``padding='same'`` with a stride, found in the user's source."""

from __future__ import annotations

import ast
import traceback
from pathlib import Path

from ..errors import UsageError
from ..notation_torch import MODULES, arguments
from .explain_fix import Stop
from .explain_fix_layer import same_fix
from .layers import ANY


def built_stop(error: UsageError) -> Stop | None:
    """What is wrong with a layer that torch's constructor refuses; None if that is not known."""
    cause = error.__cause__
    if cause is None or "padding='same'" not in str(cause):
        return None
    before, sign, _ = str(error).partition(": torch says ")
    code, where = (before, "its constructor") if sign else _call(cause)
    try:
        name, given = arguments(code)
        rank = MODULES[name][1]
        kernel = given["kernel_size"]
        kernel = tuple(kernel) if isinstance(kernel, tuple | list) else (kernel,) * rank
        fix = same_fix(given, kernel, (ANY,) * rank)
        stride = given["stride"]
    except (UsageError, KeyError, TypeError, ValueError):
        stride, fix = "more than 1", "give the padding as numbers"
    what = code or "a convolution"
    reason = f"{what}: padding='same' needs stride 1, got {stride}"
    return Stop("convolution", where, reason, fix, str(cause))


def _call(error: BaseException) -> tuple[str, str]:
    """The code of the layer that was being made, and what it was to be called."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if "torch" in file.parts or not file.is_file() or frame.lineno is None:
            continue
        found = _calls(file, frame.lineno)
        if found[0]:
            return found
    return "", "__init__"


def _calls(file: Path, number: int) -> tuple[str, str]:
    """The convolution in a line of a file, and the name it is given."""
    tree = ast.parse(file.read_text("utf-8"))
    code = where = ""
    for node in ast.walk(tree):
        if not number_in(node, number):
            continue
        if isinstance(node, ast.Assign):
            where = ast.unparse(node.targets[0]).removeprefix("self.")
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            if name.startswith("Conv") and name in MODULES:
                code = ast.unparse(node)
    return code, where or "__init__"


def number_in(node: ast.AST, number: int) -> bool:
    """Whether a line is one of a node's."""
    first, last = getattr(node, "lineno", None), getattr(node, "end_lineno", None)
    return first is not None and last is not None and first <= number <= last
