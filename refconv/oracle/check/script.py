"""A failing call as a torch script of a few lines that needs nothing of ours: it makes the arrays,
calls the function, prints what came and what is due, and fails.

What is due is one number, written out, with the proven bound as its tolerance: no reference is
needed, so the script also works where torch itself is wrong. Before it is handed out it is run on
the function: it has to fail.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Callable
from typing import Any

import torch

from ... import label as labels
from ...backends import registry
from ...ops import OPS
from .. import target
from . import literal, showing
from .answers import stacked, tangent
from .case import Case
from .trial import Settings, Trial

#: Lines of a script at most.
LINES = 14
#: Tries to see a failure that comes and goes.
_TRIES = 4
_FILE = re.compile(r"(?P<folder>.*?)(?P<stem>[^/\\]+)\.py(:(?P<name>[\w.]+))?")
_MODULE = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<name>[A-Za-z_][\w.]*)")
#: Ways of calling, in words.
_WAYS = {
    "shape": "only the shape",
    "repeat": "called several times",
    "again": "after another call",
    "vmap": "vmap over {}",
    "double": "second derivative through the gradient of {}",
}
#: What a script calls its own things.
_TAKEN = {"torch", "sys", *showing.VARIABLES.values(), "y", "dy", "v", "got", "want", "first"}


def script(
    function_name: str,
    case: Case,
    settings: Settings,
    function: Callable[..., Any] | None = None,
) -> str:
    """A torch script of fewer than 15 lines that fails as ``case`` does on ``function``.

    Args:
        function_name: as ``target.load`` takes it; of any other, a comment marks the place.
        function: the one of that name if None.

    Returns:
        Nothing where the call does not fail, or takes more numbers than fit.
    """
    called = function or target.load(function_name, case.op).function
    head, callee = _imported(function_name, case.op)
    if settings.device != "cpu":
        head.append(f'torch.set_default_device("{settings.device}")')
    trial = Trial(case, settings)
    tries = (showing.show(trial, called, callee) for _ in range(_TRIES))
    shown = next((s for s in tries if s.lines), showing.Shown([]))
    if not shown.lines:
        return ""
    used = set(re.findall(r"\w+", " ".join(shown.lines)))
    fitting = ""
    for short, guards in ((False, False), (True, False), (True, True)):
        arrays = _arrays(trial, used, short, "all" if guards else shown.guarded)
        if not arrays or len(head + arrays + shown.lines) > LINES:
            continue
        fitting = "\n".join([*head, *arrays, *shown.lines])
        # Whether a call fails that is made after another cannot be seen here: both were made.
        with torch.device(settings.device):
            failed = fails([*arrays, *shown.lines], called, callee)
        if failed or case.way == "again":
            return _titled(fitting, label(case))
    return _titled(fitting, "After other calls in one process this failed; alone it does not.")


def fails(lines: list[str], function: Callable[..., Any], name: str) -> bool:
    """Whether a script without its imports, run here with ``function`` as ``name``, fails."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec("\n".join(lines), {"torch": torch, name: function})
    except AssertionError:
        return True
    except Exception:  # another failure than the one that is shown
        return False
    return False


def name(function: Callable[..., Any]) -> str:
    """``torch``, ``module:function``, or, of what no import finds, its own name."""
    if any(getattr(torch.nn.functional, op, None) is function for op in OPS):
        return "torch"
    module, own = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    value: Any = sys.modules.get(module)
    for part in own.split("."):
        value = getattr(value, part, None)
    importable = value is function and module != "__main__"
    return f"{module}:{own}" if importable else own or type(function).__name__


def label(case: Case) -> str:
    """The problem's label, and what it cannot say: memory, gradient, special values, calls."""
    if case.refusal:
        return str(case)
    words = [labels.format(case.problem())]
    layouts = zip(case.names, case.layouts, strict=False)
    words += [f"{n} {layout}" for n, layout in layouts if layout != "contiguous"]
    words += ["return_indices"] if dict(case.kwargs).get("return_indices") else []
    if case.grad and case.way == "plain":
        words.append(f"{case.grad} gradient" + (f" of {', '.join(case.wrt)}" if case.wrt else ""))
    numbers = ("real", "integer", "ones", "ramp", "fractions")
    words += [f"{case.values} values"] if case.values not in numbers else []
    way, _, name = case.way.partition(":")
    words += [_WAYS[way].format(name)] if way in _WAYS else []
    return ", ".join(words)


def _titled(text: str, title: str) -> str:
    """With a first line that says what it is, where there is room for it."""
    if text.count("\n") + 2 > LINES or len(title) > literal.WIDTH or not text:
        return text and text + "\n"
    return f"# {title}\n{text}\n"


def _arrays(trial: Trial, used: set[str], short: bool, guarded: str) -> list[str]:
    """Statements that make the arrays that are used; nothing if they cannot be written.

    Args:
        guarded: the array that lies between other cells, or ``all``.
    """
    case = trial.case
    layouts = case.layouts or ("contiguous",) * len(case.shapes)
    way, _, mapped = case.way.partition(":")
    named: list[tuple[str, torch.Tensor, str]] = []
    for n, array, layout in zip(case.names, case.arrays(), layouts, strict=True):
        if way == "vmap" and n == mapped:
            array, layout = torch.stack(stacked(case, n)), "contiguous"
        named.append((showing.VARIABLES[n], array, layout))
    if trial.dy is not None:
        layout = {"random": "contiguous", "expanded": "one number"}.get(case.grad, case.grad)
        named.append(("dy", trial.dy.cpu(), layout))
    if way == "double":
        named.append(("v", tangent(case, mapped), "contiguous"))
    made: list[str] = []
    for variable, array, layout in (row for row in named if row[0] in used):
        if way == "shape":
            shape = ", ".join(map(str, array.shape))
            made.append(f"{variable} = torch.zeros(1, dtype={array.dtype}).expand({shape})")
            continue
        if guarded in ("all", variable) and layout == "contiguous":
            lines = literal.guarded(variable, array)
        else:
            lines = literal.lines(variable, array, layout, short)
        if not lines:
            return []
        made += lines
    return made


def _imported(function_name: str, op: str) -> tuple[list[str], str]:
    """The imports of a script, and what it calls the function."""
    lines = ["import torch"]
    if function_name == "torch":
        return [*lines, f"from torch.nn.functional import {op}"], op
    if function_name.partition(":")[0] in registry():
        ours = f"{op} = functools.partial(refconv.functional.{op}, backend={function_name!r})"
        return ["import functools", *lines, "import refconv.functional", ours], op
    if found := _FILE.fullmatch(function_name):
        folder, module, path = found["folder"], found["stem"], found["name"] or op
        first, _, rest = path.partition(".")
        if not module.isidentifier():
            module = f"{folder}{module}.py"
            made = f"{own(path)} = runpy.run_path({module!r})[{first!r}]"
            return ["import runpy", *lines, made + (f".{rest}" if rest else "")], own(path)
        lines = ["import sys", *lines, f"sys.path.insert(0, {folder or '.'!r})"]
    elif found := _MODULE.fullmatch(function_name):
        module, path = found["module"], found["name"]
    else:
        return [*lines, f"# your function here: fn = {function_name}"], "fn"
    name = own(path)
    first = path.partition(".")[0]
    if first == path:
        renamed = "" if name == first else f" as {name}"
        return [*lines, f"from {module} import {first}{renamed}"], name
    return [*lines, f"from {module} import {first}", f"{name} = {path}"], name


def own(path: str) -> str:
    """What a script calls the function at ``path`` of a module."""
    last = path.rpartition(".")[2]
    return "fn" if last in _TAKEN else last
