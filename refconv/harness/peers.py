"""Other libraries beside torch: ONNX Runtime and JAX, where they are installed (extra ``peers``).

Each gets what its users give it: ONNX Runtime a model whose weights are constants, which it packs
once, before any timed call; JAX a function that is compiled for these shapes. Both then have less
to do in a timed call than torch and refconv, which take the weights as they come.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from ..errors import UnsupportedError, UsageError
from ..oracle import calls
from ..problem import ConvProblem, PoolProblem

Call = Callable[[], Any]
#: Peer → the modules it needs.
PEERS = {"onnxruntime": ("onnxruntime", "onnx"), "jax": ("jax",)}


def known(name: str) -> None:
    """Raise UsageError unless there is such a peer."""
    if name not in PEERS:
        raise UsageError(f"--peers: must be among {', '.join(PEERS)}, got {name!r}")


def unavailable(name: str, threads: int, cores: int) -> str:
    """Why a peer cannot be timed here, or nothing."""
    missing = [module for module in PEERS[name] if find_spec(module) is None]
    if missing:
        return f"{', '.join(missing)} not installed (pip install 'refconv[peers]')"
    if name == "jax" and threads != cores:
        return f"JAX takes all {cores} cores, the others {threads} threads: not a comparison"
    return ""


def bind(name: str, problem: Any, arrays: calls.Arrays, way: str) -> Call:
    """The call that is timed.

    Raises:
        UnsupportedError: the peer has no such operation, or we do not ask it for one.
    """
    known = isinstance(problem, ConvProblem | PoolProblem)
    if way != "fprop" or problem.dtype != "float32" or not known:
        raise UnsupportedError(f"{name}: only float32 convolution and pooling, forward")
    pool = isinstance(problem, PoolProblem)
    if pool and (problem.adaptive or problem.norm is not None or problem.divisor):
        raise UnsupportedError(f"{name}: not asked for {problem.op} with these numbers")
    if len(problem.input_shape) != 2 + problem.rank:
        raise UnsupportedError(f"{name}: not asked for {problem.op} without a batch")
    numpy = {key: a.detach().numpy() for key, a in arrays.items()}
    return (_onnx if name == "onnxruntime" else _jax)(problem, numpy)


def _onnx(problem: Any, arrays: dict[str, np.ndarray]) -> Call:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    constants = [numpy_helper.from_array(arrays[n], n) for n in arrays if n != "input"]
    kind, attributes = _onnx_node(problem)
    node = helper.make_node(kind, list(arrays), ["output"], **attributes)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("input", problem.input_shape), ("output", problem.output_shape))
    ]
    graph = helper.make_graph([node], "layer", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    given = {"input": arrays["input"]}
    return lambda: session.run(None, given)[0]


def _onnx_node(problem: Any) -> tuple[str, dict[str, Any]]:
    """The node's type and attributes."""
    if isinstance(problem, ConvProblem):
        low, high = zip(*problem.padding, strict=True)
        common = {"kernel_shape": problem.kernel, "strides": problem.stride, "pads": low + high,
                  "dilations": problem.dilation, "group": problem.groups}  # fmt: skip
        if not problem.transposed:
            return "Conv", common
        return "ConvTranspose", {**common, "output_padding": problem.output_padding}
    common = {"kernel_shape": problem.kernel, "strides": problem.stride,
              "pads": problem.padding * 2, "ceil_mode": int(problem.ceil_mode)}  # fmt: skip
    if "max" in problem.op:
        return "MaxPool", {**common, "dilations": problem.dilation or (1,) * problem.rank}
    return "AveragePool", {**common, "count_include_pad": int(problem.count_include_pad)}


def _jax(problem: Any, arrays: dict[str, np.ndarray]) -> Call:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax

    if not isinstance(problem, ConvProblem) or problem.transposed:
        raise UnsupportedError(f"jax: not asked for {problem.op}")

    def layer(x: Any, w: Any, *bias: Any) -> Any:
        y = jax.lax.conv_general_dilated(
            x, w, problem.stride, problem.padding,
            rhs_dilation=problem.dilation, feature_group_count=problem.groups,
        )  # fmt: skip
        return y + bias[0].reshape(-1, *(1,) * problem.rank) if bias else y

    compiled = jax.jit(layer)
    given = [jax.device_put(a) for a in arrays.values()]
    return lambda: compiled(*given).block_until_ready()
