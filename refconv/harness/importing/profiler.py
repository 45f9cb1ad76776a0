"""A trace of torch's profiler (``export_chrome_trace`` after ``record_shapes=True``): every call of
the family, forward and backward, with its time on the host.

An operator's event contains those of the operators that it calls; only the outermost one of the
family counts. Their arguments are in the order of torch's operator schemas; a text (padding="same")
is not recorded, and is read off the call inside.

Source: torch/csrc/profiler (Concrete Inputs, Input Dims, Input type); native_functions.yaml.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ...errors import RefconvError, UsageError
from ...notation import Problem, build
from .reading import Entry

_POOL = "kernel_size stride padding"
_MAX, _AVG = f"{_POOL} dilation ceil_mode", f"{_POOL} ceil_mode count_include_pad"
_TAIL = "stride padding dilation transposed output_padding groups"
_CONV = f"input weight bias {_TAIL}"
#: Parameters by operator, in their order; ``grad`` is the gradient that a backward is given.
_OPERATORS: dict[str, str] = {
    "convolution": _CONV,
    "_convolution": _CONV,
    "convolution_overrideable": _CONV,
    "convolution_backward": f"grad input weight bias_sizes {_TAIL}",
    "adaptive_avg_pool1d": "input output_size",
    "adaptive_max_pool1d": "input output_size",
    "im2col": "input kernel_size dilation padding stride",
    "col2im": "input output_size kernel_size dilation padding stride",
}
for _r in ("1d", "2d", "3d"):
    _divisor = "" if _r == "1d" else " divisor_override"
    _OPERATORS |= {
        f"conv{_r}": "input weight bias stride padding dilation groups",
        f"conv_transpose{_r}": "input weight bias stride padding output_padding groups dilation",
        f"max_pool{_r}": f"input {_MAX}",
        f"max_pool{_r}_with_indices": f"input {_MAX}",
        f"max_pool{_r}_with_indices_backward": f"grad input {_MAX}",
        f"avg_pool{_r}": f"input {_AVG}{_divisor}",
        f"avg_pool{_r}_backward": f"grad input {_AVG}{_divisor}",
        f"adaptive_avg_pool{_r}": "input output_size",
        f"_adaptive_avg_pool{_r}": "input output_size",
        f"_adaptive_avg_pool{_r}_backward": "grad input",
        f"adaptive_max_pool{_r}": "input output_size",
        f"adaptive_max_pool{_r}_backward": "grad input",
        f"max_unpool{_r}": "input indices output_size",
    }
_FAMILY = re.compile(r"aten::\w*(conv|pool|im2col|col2im)\w*")
_DTYPES = {
    "float": "float32",
    "double": "float64",
    "c10::Half": "float16",
    "c10::BFloat16": "bfloat16",
    "long int": "int64",
    "long": "int64",
    "int": "int32",
    "c10::complex<float>": "complex64",
    "c10::complex<double>": "complex128",
}


def entries(path: Path, document: Any) -> tuple[Iterator[Entry], str]:
    """The calls of a trace, calls of one problem together, and a note.

    Raises:
        UsageError: no trace, no operators in it, or none with shapes.
    """
    events = document.get("traceEvents") if isinstance(document, dict) else document
    if not isinstance(events, list):
        raise UsageError(f"--from {path}: is JSON without traceEvents, so no profiler trace")
    operators = [e for e in events if _is_operator(e)]
    if not operators:
        raise UsageError(f"--from {path}: this trace holds no operator of torch (aten::…)")
    if not any("Input Dims" in e["args"] for e in operators):
        raise UsageError(
            f"--from {path}: this trace has no shapes; profile with record_shapes=True"
        )
    found = list(_outermost(operators))
    if not found:
        return iter(()), "no convolution or pooling among its operators"
    time = sum(float(event["dur"]) for event, _ in found) / 1000
    return _merged(found), f"{len(found):,} calls, {time:,.1f} ms on the host"


def _is_operator(event: Any) -> bool:
    return (
        isinstance(event, dict)
        and event.get("ph") == "X"
        and str(event.get("name", "")).startswith("aten::")
        and isinstance(event.get("args"), dict)
        and all(isinstance(event.get(key), int | float) for key in ("ts", "dur"))
    )


def _outermost(operators: Iterable[Any]) -> Iterator[tuple[Any, list[Any]]]:
    """Events of the family that lie in no other one, each with those inside it."""
    family = [e for e in operators if _FAMILY.fullmatch(e["name"])]
    threads: dict[Any, list[Any]] = {}
    for event in family:
        threads.setdefault((event.get("pid"), event.get("tid")), []).append(event)
    for events in threads.values():
        events.sort(key=lambda e: (e["ts"], -e["dur"]))
        at = 0
        while at < len(events):
            outer, inside = events[at], []
            end = outer["ts"] + outer["dur"]
            at += 1
            while at < len(events) and events[at]["ts"] < end:
                inside.append(events[at])
                at += 1
            yield outer, inside


def _merged(found: Iterable[tuple[Any, list[Any]]]) -> Iterator[Entry]:
    """One entry for the same operator on the same problem, or with the same reason against it."""
    same: dict[tuple[str, Problem | str, str], tuple[int, float]] = {}
    for event, inside in found:
        name = event["name"].removeprefix("aten::")
        dims = str(event["args"].get("Input Dims", ""))
        try:
            made: Problem | str = _problem(name, event["args"], inside)
        except (RefconvError, KeyError, IndexError, TypeError, ValueError, SyntaxError) as error:
            known = isinstance(error, RefconvError)
            made = str(error) if known else f"its arguments cannot be read ({error})"
        key = (name, made, dims if isinstance(made, str) else "")
        count, time = same.get(key, (0, 0.0))
        same[key] = count + 1, time + float(event["dur"])
    for (name, made, dims), (count, time) in same.items():
        back = name.endswith("_backward")
        where = f"aten::{name} ({count} call{'s' * (count > 1)})"
        yield Entry(where, dims, made, "", count * (not back), count * back, time)


def _problem(name: str, given: dict[str, Any], inside: list[Any]) -> Problem:
    """The problem of one call; of a backward, the one that it differentiates."""
    if name not in _OPERATORS:
        raise UsageError(f"refconv has no problem for aten::{name}")
    names = _OPERATORS[name].split()
    if "Input Dims" not in given:
        raise UsageError("no shapes were recorded")
    dims, kinds = given["Input Dims"], given["Input type"]
    concrete = given.get("Concrete Inputs", [])
    values: dict[str, Any] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for key, size, kind, text in zip(names, dims, kinds, concrete, strict=False):
        if key in ("grad", "input", "weight", "bias", "indices"):
            if kind:
                shapes[key] = tuple(size)
        else:
            values[key] = _value(text)
    dtype = _DTYPES.get(kinds[names.index("input")], kinds[names.index("input")])
    if "bias_sizes" in values and values.pop("bias_sizes") not in (None, [0], ()):
        channels = 1 if values["transposed"] else 0
        groups = values["groups"] if values["transposed"] else 1
        shapes["bias"] = (shapes["weight"][channels] * groups,)
    if values.get("padding", ()) is None and "weight" in shapes:
        values["padding"] = _text_padding(shapes["input"], inside)
    if name.endswith("pool2d_backward") and "output_size" not in values and "adaptive" in name:
        values["output_size"] = shapes["grad"][-2:]
    elif name.endswith("pool3d_backward") and "adaptive" in name:
        values["output_size"] = shapes["grad"][-3:]
    return _build(name, shapes, values, dtype)


def _value(text: Any) -> Any:
    """A recorded argument: ``[2, 2]``, ``True``; nothing where it was not given, or is a text."""
    return ast.literal_eval(text) if text else None


def _text_padding(x: tuple[int, ...], inside: list[Any]) -> Any:
    """What padding="same" or "valid" came to, from the convolution inside."""
    call = next((e for e in inside if e["name"] == "aten::convolution"), None)
    if call is None:
        raise UsageError("its padding is a text, which the profiler does not record")
    arguments = call["args"]
    inner = arguments["Input Dims"][0]
    if inner[-len(x) :] != list(x) and [1, *x] != inner:
        return "same"  # torch padded one side more before it
    return _value(arguments["Concrete Inputs"][4])


def _build(
    name: str, shapes: dict[str, tuple[int, ...]], values: dict[str, Any], dtype: str
) -> Problem:
    """From torch's arguments to a problem."""
    op = re.sub(r"_with_indices|_backward|^_", "", name)
    op = {"im2col": "unfold", "col2im": "fold"}.get(op, op)
    if "convolution" in op:
        transposed = values.pop("transposed")
        op = f"conv{'_transpose' if transposed else ''}{len(shapes['weight']) - 2}d"
        if not transposed:
            del values["output_padding"]
    if "kernel_size" in values:
        values = {k: v for k, v in values.items() if not (k == "stride" and not v)}
    kept = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    if op.startswith("max_unpool"):
        rank = int(op[-2])
        small = shapes["input"][-rank:]
        kept["kernel_size"] = tuple(
            o - (s - 1) for o, s in zip(kept["output_size"], small, strict=True)
        )
        kept["stride"] = 1
    tensors = {k: v for k, v in shapes.items() if k != "grad"}
    if op.startswith("conv"):
        tensors.setdefault("bias", None)  # type: ignore[arg-type]
        rank = int(op[-2])
        kept = {
            k: v * rank if k in _SPATIAL and isinstance(v, tuple) and len(v) == 1 else v
            for k, v in kept.items()
        }
    return build(op, tensors, kept, dtype)


_SPATIAL = ("stride", "padding", "dilation", "output_padding")
