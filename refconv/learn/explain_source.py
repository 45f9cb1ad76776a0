"""Where a torch model comes from: a file, a package, ``nn.Sequential(…)`` as text, a net that
refconv ships, torchvision's or timm's zoo.

Text is read with ``ast`` and never evaluated: a name must be one of torch.nn's modules, an argument
a literal, a number made of numbers (``16*5*5``), or another module.
"""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch

from ..errors import UnavailableError, UsageError
from ..harness import modelfile
from ..nets import nets
from ..notation import near
from ..usercode import first_line
from .capture import on_meta

_ZOOS = ("torchvision", "timm")
_SIGNS: dict[type[Any], Callable[[Any, Any], Any]] = {
    ast.Mult: operator.mul,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.FloorDiv: operator.floordiv,
}


@dataclass(frozen=True)
class Source:
    """A model that can be made, as often as one likes.

    Args:
        make: device (``meta`` or ``cpu``) → a model; on ``meta`` its weights may have no data.
        usual: the shape of its input, if it is known; else empty.
    """

    title: str
    make: Callable[[str], torch.nn.Module]
    usual: str = ""


def source(what: Any) -> Source:
    """The source of a model.

    Raises:
        UsageError: nothing is called so; UnavailableError: the zoo is not installed.
    """
    if isinstance(what, torch.nn.Module):
        return Source(type(what).__name__, lambda device: _copied(what, device))
    text = str(what).strip()
    if "(" in text:
        return Source(_title(text), lambda device: from_text(text, device))
    shipped = nets()
    if text in shipped:
        file, name, shape = shipped[text]
        return Source(name, _from_file(f"{file}:{name}"), shape)
    if ".py" in text or (":" in text and text.partition(":")[0] not in _ZOOS):
        return Source(text.rpartition(":")[2] or text, _from_file(text))
    return _from_zoo(text)


def _from_file(spec: str) -> Callable[[str], torch.nn.Module]:
    """A model of a file or module; one that cannot be built without numbers is built with them."""

    def make(device: str) -> torch.nn.Module:
        try:
            return modelfile.load(spec, device=device)
        except UsageError:
            if device == "cpu":
                raise
            return modelfile.load(spec)

    return make


def _copied(model: torch.nn.Module, device: str) -> torch.nn.Module:
    try:
        return on_meta(model) if device == "meta" else copy.deepcopy(model)
    except Exception as error:
        text = first_line(error)
        raise UsageError(f"torch cannot copy this {type(model).__name__} ({text})") from error


def _from_zoo(text: str) -> Source:
    """``resnet18``, ``torchvision:resnet18`` or ``timm:resnet18``, without weights."""
    zoo, colon, name = text.partition(":")
    name = name if colon else text
    if not re.fullmatch(r"[\w.-]+", name):
        raise UsageError(f"{text!r} is no model{_known(text)}")
    asked = [zoo] if colon else list(_ZOOS)
    here = [z for z in asked if find_spec(z) is not None]
    if not here:
        missing = f"{' and '.join(asked)} {'is' if len(asked) == 1 else 'are'} not installed here"
        if colon:
            raise UnavailableError(f"{text}: {missing}")
        raise UsageError(f"{text!r} is no net of refconv's{_known(text)} ({missing})")
    for library in here:
        if (build := _builder(library, name)) is not None:
            return Source(name, build)
    raise UsageError(f"{text!r} is no model of {' or '.join(here)}, nor of refconv's{_known(text)}")


def _builder(library: str, name: str) -> Callable[[str], torch.nn.Module] | None:
    if library == "torchvision":
        models = _zoo("torchvision.models")
        known = name in models.list_models()
        build = lambda: _untrained(models.get_model_builder(name))  # noqa: E731
    else:
        timm = _zoo("timm")
        known = timm.is_model(name)
        build = lambda: timm.create_model(name, pretrained=False)  # noqa: E731
    if not known:
        return None

    def make(device: str) -> torch.nn.Module:
        try:
            with torch.device(device):
                return build().eval()
        except Exception as error:
            if device == "cpu":
                reason = first_line(error)
                raise UsageError(f"{library}:{name} cannot be built: {reason}") from error
        return make("cpu")  # it cannot be made without numbers

    return make


def _untrained(builder: Callable[..., Any]) -> Any:
    """A model of torchvision without weights; a detector's backbone has weights of its own."""
    kinds = inspect.signature(builder).parameters
    return builder(**{name: None for name in ("weights", "weights_backbone") if name in kinds})


def _zoo(module: str) -> Any:
    """A zoo's module; one that was built for another torch fails in ways of its own."""
    try:
        return importlib.import_module(module)
    except Exception as error:
        raise UnavailableError(
            f"{module.partition('.')[0]} is installed but cannot be imported with torch "
            f"{torch.__version__} ({first_line(error)}): install the release that was "
            "made for this torch"
        ) from error


def _known(text: str) -> str:
    names = list(nets())
    return f"{near(text, names)}; refconv ships {', '.join(names)}"


def from_text(text: str, device: str = "cpu") -> torch.nn.Module:
    """The module that torch code describes.

    Raises:
        UsageError: it is not torch.nn's, or torch refuses its arguments (the cause is chained).

    Example:
        >>> from_text("nn.Sequential(nn.Conv2d(1, 64, 4, 2, 1), nn.ReLU())")[0].out_channels
        64
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = getattr(error, "msg", None) or str(error)
        raise UsageError(f"{text!r} is not a Python expression ({reason})") from None
    with torch.device(device):
        module = _value(tree)
    if not isinstance(module, torch.nn.Module):
        raise UsageError(f"{text!r} is no module; write e.g. 'nn.Sequential(nn.Conv2d(3,6,5), …)'")
    return module.eval()


def _title(text: str) -> str:
    return text.partition("(")[0].rpartition(".")[2].strip() or "model"


def _value(node: ast.expr) -> Any:
    """A literal, a number made of numbers, a list, or a module of torch.nn."""
    if isinstance(node, ast.Call):
        return _module(node)
    if isinstance(node, ast.List | ast.Tuple):
        made = [_value(each) for each in node.elts]
        return made if isinstance(node, ast.List) else tuple(made)
    if isinstance(node, ast.BinOp) and type(node.op) in _SIGNS:
        left, right = _value(node.left), _value(node.right)
        if isinstance(left, int) and isinstance(right, int) and abs(left * right) < 1 << 62:
            try:
                return _SIGNS[type(node.op)](left, right)
            except ZeroDivisionError:
                pass
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        shown = ast.unparse(node)
        raise UsageError(f"{shown}: write a number, a string, or a module of torch.nn") from None


def _module(call: ast.Call) -> torch.nn.Module:
    """One module of torch.nn; only its own classes are called."""
    dotted = ast.unparse(call.func)
    prefix, _, name = dotted.rpartition(".")
    known = {n for n in torch.nn.modules.__all__ if n[:1].isupper()}
    if prefix not in ("", "nn", "torch.nn") or name not in known:
        raise UsageError(f"{dotted} is no module of torch.nn{near(name, known)}")
    args: list[Any] = []
    for node in call.args:
        if isinstance(node, ast.Starred):
            made = _value(node.value)
            args += made if isinstance(made, list | tuple) else [made]
        else:
            args.append(_value(node))
    kwargs = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise UsageError(f"{dotted}: ** cannot be read; write the arguments out")
        if keyword.arg != "device":
            kwargs[keyword.arg] = _value(keyword.value)
    made = getattr(torch.nn, name)
    try:
        return made(*args, **kwargs)
    except Exception as error:
        text = first_line(error)
        raise UsageError(f"{ast.unparse(call)}: torch says {text}") from error
