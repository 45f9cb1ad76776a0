"""What may be handed over as a layer or as a chain of layers, as a list of ``Layer``: problems,
labels, torch code, torch modules, ``nn.Sequential`` of them, or a list.

torch is not imported: a module is read through its attributes. Where no input's shape is known,
sizes stand for themselves as ``ANY``, and only what does not depend on them may be asked.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .. import checks, label
from ..errors import ShapeError, UsageError
from ..notation import Problem, input_shape, shape
from ..notation_torch import MODULES, arguments, signature
from ..ops import OPS
from ..problem import Size

#: The size of an axis that nobody has told.
ANY = 1 << 20
_POINTWISE = (
    "Identity Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout BatchNorm1d "
    "BatchNorm2d BatchNorm3d SyncBatchNorm InstanceNorm1d InstanceNorm2d InstanceNorm3d GroupNorm "
    "LocalResponseNorm CELU ELU GELU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU "
    "LogSigmoid Mish PReLU ReLU ReLU6 RReLU SELU SiLU Sigmoid Softplus Softshrink Softsign "
    "Softmax2d Tanh Tanhshrink Threshold"
)
#: Modules that change no shape, and of which each output cell reads that cell of the input. (What
#: normalisation takes from all positions is one number a channel, and is not counted.)
POINTWISE = frozenset(_POINTWISE.split())
#: Modules behind which there are no positions any more.
GLOBAL = frozenset(("Flatten", "Linear"))


@dataclass(frozen=True)
class Layer:
    """One layer of a chain.

    Args:
        text: how it was written.
        op: a problem, ``pointwise`` or ``global`` (see ``receptive.Node``).
        params: learnable numbers.
        macs: of a linear layer, for one image; a problem knows its own.
    """

    text: str
    op: Problem | str
    params: int = 0
    macs: int = 0


def layers(what: Any, in_shape: Any = None) -> tuple[Layer, ...]:
    """The layers of ``what``, one behind the other.

    Args:
        what: a problem, a label, torch code, a module, ``nn.Sequential`` (as code or as a module),
            or a sequence of these.
        in_shape: the shape of the first layer's input; it may be left out where sizes do not
            matter.

    Raises:
        UsageError: this is no chain of layers that refconv knows.
        ShapeError, …: a layer does not take what the one before it gives.

    Example:
        >>> found = layers(["nn.Conv2d(3,6,5)", "nn.ReLU()", "nn.MaxPool2d(2)"], "3x32x32")
        >>> [layer.op if isinstance(layer.op, str) else layer.op.output_shape for layer in found]
        [(6, 28, 28), 'pointwise', (6, 14, 14)]
    """
    known = None if in_shape is None else shape(in_shape)
    made: list[Layer] = []
    for part in _parts(what):
        if made and made[-1].op == "global" and part_name(part) not in POINTWISE | GLOBAL:
            raise UsageError(
                f"behind {made[-1].text} there are no positions, but {part} needs some"
            )
        layer = _layer(part, known)
        if not isinstance(layer.op, str):
            told = known is not None or ANY not in input_shape(layer.op)
            known = layer.op.output_shape if told else None
        made.append(layer)
    return tuple(made)


def model(what: Any, in_shape: Any = None) -> Any:
    """The rows of ``explain_model``, if ``what`` is more than a chain of layers: a module with a
    forward of its own, ``file.py:Class``, ``lenet``; else None.

    Raises:
        UsageError: there is no such model, or its input's shape is needed.
        ShapeError: it stops on this shape.
    """
    if not _is_model(what):
        return None
    from .explain_model import explain_model

    found = explain_model(what, [] if in_shape is None else [in_shape])
    if found.stop is not None:
        raise ShapeError(f"{found.title} stops in {found.stop.where}: {found.stop.line}")
    return found.rows


def _is_model(what: Any) -> bool:
    if isinstance(what, str) and "(" not in what:
        return _spec(what) is None
    if is_module(what) or part_name(what) == "Sequential":
        known = POINTWISE | GLOBAL | MODULES.keys()
        return any(part_name(part) not in known for part in _parts(what))
    return False


def _spec(text: str) -> str | None:
    """The layer that a text is, or names as a case; None if it names a model."""
    if "(" in text or text.split(" ", 1)[0] in OPS:
        return text
    from .explain import layer_spec

    return layer_spec(text.strip())


def is_module(what: Any) -> bool:
    """Whether this is a torch module; torch is not imported to find out."""
    return any(base.__module__ == "torch.nn.modules.module" for base in type(what).__mro__)


def part_name(part: Any) -> str:
    """The class of a module, the function of torch code, else nothing."""
    if is_module(part):
        return type(part).__name__
    return part.split("(")[0].split(".")[-1].strip() if isinstance(part, str) else ""


def _parts(what: Any) -> Iterator[Any]:
    """Single layers: sequences and ``nn.Sequential`` are taken apart, however deep."""
    if part_name(what) == "Sequential":
        inside: Any = _sequential(what) if isinstance(what, str) else what
    elif isinstance(what, Sequence) and not isinstance(what, str):
        inside = what
    else:
        yield what
        return
    for part in inside:
        yield from _parts(part)


def _sequential(text: str) -> list[str]:
    """The code of the layers in ``nn.Sequential(…)``."""
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise UsageError(f"{text!r} is not a Python expression ({error.msg})") from None
    if not isinstance(call, ast.Call) or call.keywords:
        raise UsageError(f"{text!r} is not nn.Sequential(layer, layer, …)")
    return [ast.unparse(argument) for argument in call.args]


def _layer(part: Any, known: Size | None) -> Layer:
    name = part_name(part)
    if name in POINTWISE or name in GLOBAL:
        return _other(part, name)
    if name in MODULES:
        text = part if isinstance(part, str) else code(part)
        if known is None and not text.rstrip().endswith("])"):
            channels = arguments(text)[1].get("in_channels", 1)
            known = (checks.number(name, "in_channels", channels), *(ANY,) * MODULES[name][1])
        problem = label.read(text, in_shape=known)
    elif isinstance(part, str):
        text = _spec(part) or part
        problem = label.read(text, in_shape=known)
    elif hasattr(part, "forward_slot"):
        text, problem = label.format(part), part
        if known not in (None, input_shape(part)):
            raise UsageError(f"{text} does not take the {known} that comes before it")
    else:
        raise UsageError(
            "a layer is a problem, a label, torch code, or a module of torch.nn that has one input "
            f"and one output, got {name or type(part).__name__}"
        )
    return Layer(text, problem, getattr(problem, "params", 0))


def code(module: Any) -> str:
    """The code that makes a module of the family; its ``padding_mode`` left out, which changes no
    size.
    """
    name = type(module).__name__
    skipped = ("padding_mode", "device", "dtype")
    values = {key: getattr(module, key) for key in signature(name) if key not in skipped}
    if "bias" in values:
        values["bias"] = values["bias"] is not None
    return f"nn.{name}({', '.join(f'{key}={value!r}' for key, value in values.items())})"


def _other(part: Any, name: str) -> Layer:
    """A layer without windows."""
    op = "global" if name in GLOBAL else "pointwise"
    if not isinstance(part, str):
        params = sum(parameter.numel() for parameter in part.parameters())
        macs = part.in_features * part.out_features if name == "Linear" else 0
        return Layer(f"nn.{part!r}", op, params, macs)
    if name == "Linear":
        rows, columns, bias = _call(part, in_features=..., out_features=..., bias=True)
        return Layer(part, op, rows * columns + columns * bool(bias), rows * columns)
    if "BatchNorm" in name:
        features, affine = _call(part, num_features=..., eps=1e-5, momentum=0.1, affine=True)[::3]
        return Layer(part, op, 2 * features * bool(affine))
    return Layer(part, op, 1 if name == "PReLU" and "()" in part else 0)


def _call(text: str, **parameters: Any) -> list[Any]:
    """The values of a call's parameters; ``...`` is a default that must be given."""
    try:
        call = ast.parse(text.strip(), mode="eval").body
        assert isinstance(call, ast.Call)
        given = dict(zip(parameters, map(ast.literal_eval, call.args), strict=False))
        given |= {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
        found = [given.get(key, default) for key, default in parameters.items()]
        if all(isinstance(v, int | float | type(None)) for v in found):
            return found
    except (SyntaxError, ValueError, TypeError, AssertionError):
        pass
    raise UsageError(f"{text!r} cannot be read; it takes {', '.join(parameters)}")
