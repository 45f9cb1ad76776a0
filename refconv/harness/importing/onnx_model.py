"""An ONNX model: every node of the family, with the shapes that onnx infers.

ONNX pads each side of each axis on its own, and can leave the padding to a rule (auto_pad). A
convolution here holds that; torch's pooling and transposed convolution do only where ceil_mode or
output_padding say the same. Every problem's output is compared with the shape that onnx inferred.

Source: onnx/docs/Operators.md: Conv, ConvTranspose, MaxPool, AveragePool, LpPool, Global….
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ... import notation
from ...errors import RefconvError, UnavailableError, UsageError
from ...notation import Problem, build
from .onnx_windows import Window, pool_padding, transposed_padding
from .reading import Entry

Shape = tuple[int | str, ...]


def entries(path: Path, data: bytes, in_shape: str | None) -> tuple[Iterator[Entry], str]:
    """The nodes of a model, in its order, and a note.

    Raises:
        UnavailableError: onnx is not installed.
        UsageError: the file is no ONNX model, or ``in_shape`` does not fit its input.
    """
    if find_spec("onnx") is None:
        raise UnavailableError(
            f"--from {path}: an ONNX model is read by the library onnx, which is not installed "
            "here: pip install onnx (extra peers)"
        )
    import onnx

    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's own, which is of no fixed class
        raise UsageError(
            f"--from {path}: no text, and no ONNX model either ({type(error).__name__}); it is "
            "damaged or of another kind"
        ) from None
    if not model.graph.node:
        raise UsageError(f"--from {path}: no ONNX model, or one without nodes")
    if in_shape is not None:
        _fix_input(model, notation.shape(in_shape))
    if model.functions:
        import onnx.inliner

        model = onnx.inliner.inline_local_functions(model)
    try:
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:
        raise UsageError(f"--from {path}: onnx cannot infer its shapes: {error}") from None
    nodes = list(_nodes(model.graph, {}))
    others = len(nodes) - sum(_is_family(node.op_type) for node, _ in nodes)
    note = f"{others} other node{'s' * (others > 1)}" if others else ""
    return _entries([n for n in nodes if _is_family(n[0].op_type)], in_shape is None), note


def _is_family(op_type: str) -> bool:
    return "Conv" in op_type or "Pool" in op_type or op_type in ("Col2Im", "MaxUnpool")


def _fix_input(model: Any, shape: tuple[int, ...]) -> None:
    """Give the first input that is no weight this shape."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    dims = inputs[0].type.tensor_type.shape.dim if inputs else []
    if len(dims) != len(shape):
        raise UsageError(f"--in: the model's input has {len(dims)} axes, got {shape}")
    for dim, size in zip(dims, shape, strict=True):
        dim.Clear()
        dim.dim_value = size
    for value in [*model.graph.output, *model.graph.value_info]:
        value.type.tensor_type.ClearField("shape")  # they are inferred anew


def _nodes(graph: Any, outer: dict[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Every node with the tensors that it can see, by name: (shape, element type)."""
    known = dict(outer)
    for value in [*graph.input, *graph.value_info, *graph.output]:
        kind = value.type.tensor_type
        if kind.HasField("shape"):
            dims = tuple(
                d.dim_value if d.HasField("dim_value") else d.dim_param or "?"
                for d in kind.shape.dim
            )
            known[value.name] = dims, kind.elem_type
    known |= {tensor.name: (tuple(tensor.dims), tensor.data_type) for tensor in graph.initializer}
    for node in graph.node:
        yield node, known
        for attribute in node.attribute:
            for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from _nodes(body, known)


def _entries(nodes: list[tuple[Any, dict[str, Any]]], ask: bool) -> Iterator[Entry]:
    for node, known in nodes:
        name = node.name or (node.output[0] if node.output else node.op_type)
        where = f"node {name}"
        try:
            made: Problem | str = _problem(node, known, ask)
        except RefconvError as error:
            made = str(error)
        yield Entry(where, node.op_type, made, name.strip("/").replace("/", "."))


def _problem(node: Any, known: dict[str, Any], ask: bool) -> Problem:
    """The node's problem.

    Raises:
        UsageError: there is none, or a shape is open.
    """
    import onnx

    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    op_type = node.op_type
    if op_type not in _READERS or node.domain not in ("", "ai.onnx"):
        domain = f"{node.domain}." if node.domain else ""
        raise UsageError(f"refconv has no problem for {domain}{op_type}")
    shapes = [_shape(name, known, ask) for name in node.input if name]
    x = shapes[0]
    elem = known[node.input[0]][1]
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(elem)) if elem else "float32"
    problem = _READERS[op_type](op_type, x, shapes[1:], given, dtype)
    inferred = known.get(node.output[0], ((), 0))[0]
    if inferred and all(isinstance(s, int) for s in inferred):
        ours = getattr(problem, "output_shape", inferred)
        if tuple(inferred) != tuple(ours):
            raise UsageError(f"onnx gives {tuple(inferred)}, torch's rules give {tuple(ours)}")
    return problem


def _shape(name: str, known: dict[str, Any], ask: bool) -> tuple[int, ...]:
    shape = known.get(name, (None, 0))[0]
    if shape is None:
        raise UsageError(f"onnx infers no shape of {name!r}")
    open_axes = [s for s in shape if not isinstance(s, int)]
    if open_axes:
        fix = "; give the model's input a shape, e.g. --in 1x3x224x224" if ask else ""
        raise UsageError(f"the shape of {name!r} is open: {[*shape]}{fix}")
    return tuple(shape)


def _conv(op_type: str, x: Any, rest: list[Any], given: dict[str, Any], dtype: str) -> Problem:
    weight = rest[0]
    window = Window.of(x[2:], {"kernel_shape": weight[2:], **given})
    tensors = {"input": x, "weight": weight, "bias": rest[1] if len(rest) > 1 else None}
    arguments: dict[str, Any] = {
        "stride": window.stride,
        "dilation": window.dilation,
        "groups": given.get("group", 1),
    }
    rank = len(window.kernel)
    if op_type == "Conv":
        arguments["padding"] = window.pads
        return build(f"conv{rank}d", tensors, arguments, dtype)
    arguments |= transposed_padding(window, given)
    return build(f"conv_transpose{rank}d", tensors, arguments, dtype)


def _pool(op_type: str, x: Any, rest: list[Any], given: dict[str, Any], dtype: str) -> Problem:
    window = Window.of(x[2:], given)
    rank = len(window.kernel)
    arguments: dict[str, Any] = {"kernel_size": window.kernel, "stride": window.stride}
    dense = set(window.dilation) <= {1}
    if op_type == "MaxPool":
        if given.get("storage_order", 0):
            raise UsageError("storage_order 1 counts indices by columns, which torch does not")
        arguments |= {"dilation": window.dilation, **pool_padding(window, padding_counts=False)}
        return build(f"max_pool{rank}d", {"input": x}, arguments, dtype)
    if not dense:
        raise UsageError(f"torch's {op_type} has no dilation, got {window.dilation}")
    if op_type == "AveragePool":
        counts = bool(given.get("count_include_pad", 0))
        arguments |= {"count_include_pad": counts, **pool_padding(window, counts)}
        return build(f"avg_pool{rank}d", {"input": x}, arguments, dtype)
    norm = given.get("p", 2)
    if norm % 2:
        raise UsageError(f"ONNX raises |x| to p={norm}, torch's lp_pool x: alike for even p only")
    padding = pool_padding(window, padding_counts=False)
    if any(padding["padding"]):
        raise UsageError(f"torch's lp_pool has no padding, got {window.pads}")
    arguments |= {"norm_type": float(norm), "ceil_mode": padding["ceil_mode"]}
    return build(f"lp_pool{rank}d", {"input": x}, arguments, dtype)


def _global(op_type: str, x: Any, rest: list[Any], given: dict[str, Any], dtype: str) -> Problem:
    if op_type == "GlobalLpPool":
        return _pool("LpPool", x, rest, {**given, "kernel_shape": x[2:]}, dtype)
    kind = "avg" if op_type == "GlobalAveragePool" else "max"
    rank = len(x) - 2
    size = {"output_size": (1,) * rank}
    return build(f"adaptive_{kind}_pool{rank}d", {"input": x}, size, dtype)


_READERS = {
    "Conv": _conv,
    "ConvTranspose": _conv,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "LpPool": _pool,
    "GlobalAveragePool": _global,
    "GlobalMaxPool": _global,
    "GlobalLpPool": _global,
}
