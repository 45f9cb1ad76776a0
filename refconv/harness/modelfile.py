"""A model from text: ``model.py:Net`` or ``package.module:Net``, a class, function or module;
``model.py``, if it has only one class; or a net that refconv ships, by name (``lenet``).

Whatever the user's file does wrong is one line, with Python's or torch's own message quoted.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from ..errors import UsageError
from ..nets import nets
from ..notation import near
from ..usercode import findable, first_line, import_file, import_module

_SPEC = re.compile(r"(?P<file>.+\.py)(:(?P<name>\w*))?|(?P<module>\w+(\.\w+)*):(?P<attribute>\w+)")


def load(
    spec: str, *, seed: int = 0, dtype: str = "float32", device: str = "cpu"
) -> torch.nn.Module:
    """The model that ``spec`` names, in eval mode, with weights drawn from ``seed``.

    Args:
        device: ``cpu``; or ``meta``, where weights have shapes only: what the constructor makes
            is made there, and a model that the file has made itself stays as it is.

    Raises:
        UsageError: no such file or name, several models and no name, it is no model, or the file
            or the constructor fails.
    """
    spec = spec.strip()
    if spec in nets():
        file, name, _ = nets()[spec]
        spec = f"{file}:{name}"
    found = _SPEC.fullmatch(spec)
    if found is None:
        known = ", ".join(nets())
        raise UsageError(
            f"{spec!r} is no model; write FILE.py:CLASS or PACKAGE.MODULE:CLASS, or one of {known}"
        )
    with seeded(seed):
        if found["file"]:
            module = import_file(Path(found["file"]))
        else:
            module = import_module(found["module"])
        target = _find(module, spec, found["name"] or found["attribute"] or "")
        with seeded(seed), torch.device(device):
            model = _build(spec, target)
    return model.eval() if device == "meta" else model.to("cpu", getattr(torch, dtype)).eval()


def is_model(spec: str, sets: dict[str, str]) -> bool:
    """Whether ``spec`` names a torch module: ``file.py:Class``, ``file.py``, or
    ``package.module:Class`` if there is such a package, or a net by name that is no set of cases.
    """
    if re.search(r"\.py(:\w*)?\s*$", spec) or (spec in nets() and spec not in sets):
        return True
    found = re.fullmatch(r"([A-Za-z_]\w*)((?:\.\w+)*):([A-Za-z_]\w*)", spec)
    return found is not None and found[1] not in sets and findable(found[1])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's CPU generator starts from ``seed`` inside this block and is untouched by it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _find(module: ModuleType, spec: str, name: str) -> Any:
    """What the module calls ``name``, or its only class of models; if there is nothing, or no
    only one, the models it has are listed.
    """
    where = spec.removesuffix(f":{name}").removesuffix(":")
    own = [key for key, value in vars(module).items() if _is_model(value, module)]
    has = f"it has {', '.join(own)}" if own else "it defines no torch.nn.Module"
    classes = [key for key in own if isinstance(vars(module)[key], type)]
    if not name and len(classes) == 1:
        return vars(module)[classes[0]]
    if not name:
        raise UsageError(f"{where}: name the model, e.g. {where}:{own[0] if own else 'Net'}; {has}")
    if not hasattr(module, name):
        raise UsageError(f"{where} has no {name!r}; {has}{near(name, own)}")
    return getattr(module, name)


def _is_model(value: Any, module: ModuleType) -> bool:
    """Whether it is a torch.nn.Module, or a class of them that this very file defines."""
    if isinstance(value, type):
        return issubclass(value, torch.nn.Module) and value.__module__ == module.__name__
    return isinstance(value, torch.nn.Module)


def _build(spec: str, target: Any) -> torch.nn.Module:
    """The model itself: ``target``, or what it returns when called without arguments."""
    if isinstance(target, torch.nn.Module):
        return target
    if isinstance(target, type) and not issubclass(target, torch.nn.Module):
        raise UsageError(f"{spec}: {target.__name__} is not a torch.nn.Module")
    if not callable(target):
        raise UsageError(f"{spec} is a {type(target).__name__}, not a torch.nn.Module")
    _check_arguments(spec, target)
    try:
        model = target()
    except Exception as error:
        raise UsageError(f"{spec} cannot be built: {first_line(error)}") from error
    if not isinstance(model, torch.nn.Module):
        raise UsageError(f"{spec} returns a {type(model).__name__}, not a torch.nn.Module")
    return model


def _check_arguments(spec: str, target: Any) -> None:
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return  # some callables do not say
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [
        p.name
        for p in parameters
        if p.default is inspect.Parameter.empty and p.kind not in optional
    ]
    if needed:
        file, _, name = spec.rpartition(":")
        raise UsageError(
            f"{spec} needs arguments: {', '.join(needed)}; give them default values, or write a "
            f"function that builds it: def net(): return {name}(…), then {file}:net"
        )
