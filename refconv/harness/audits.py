"""A model from a file, run under audit: how the command runs it."""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import nullcontext
from typing import Any

import torch
from torch.utils import _pytree

from ..errors import RefconvError, UnavailableError, UsageError
from ..ops import FLOATS
from ..oracle import auditing
from ..oracle.audit_log import Log
from ..usercode import first_line
from . import modelfile, models
from .judging import Options

AUTOCAST = ("bfloat16", "float16")


def audit_model(
    spec: str,
    in_shape: Any,
    *,
    backward: bool = False,
    device: str = "cpu",
    dtype: str = "float32",
    autocast: str | None = None,
    channels_last: bool = False,
    budget: float = auditing.BUDGET,
    seed: int = 0,
    allow: Collection[str] = (),
) -> Log:
    """What an audit of one run of a model finds, on a seeded input.

    Args:
        spec, in_shape: as for ``models.compare_model``.
        backward: the gradients of the mean of the output's squares as well.
        autocast: the dtype that torch.autocast chooses; None: without it.
        budget: seconds of judging.

    Raises:
        UsageError: the model cannot be found, built or called, or has nothing of the family.
        ShapeError: its forward fails on this input; torch's message is quoted.
        UnavailableError: there is no such device here.
    """
    if dtype not in FLOATS:
        raise UsageError(f"--dtype: a model takes {', '.join(FLOATS)}, got {dtype!r}")
    if autocast not in (None, *AUTOCAST):
        raise UsageError(f"--autocast: {' or '.join(AUTOCAST)}, got {autocast!r}")
    _check_device(device)
    net = modelfile.load(spec, seed=seed, dtype=dtype).to(device)
    with _cast(device, autocast):
        x, _, hint, _ = models.first_run(spec, net, in_shape, dtype, Options(seed=seed), device)
    if channels_last:
        net, x = _channels_last(net, x)
    started = time.perf_counter()
    with modelfile.seeded(seed), auditing.audit(budget, seed=seed, allow=allow) as log:
        try:
            _run(net, x, backward, _cast(device, autocast))
        except RefconvError:
            raise
        except Exception as error:
            text = first_line(error)
            raise UsageError(f"{spec} on input {tuple(x.shape)}: {text}") from error
    words = [f"{spec} on {x.device}, input {tuple(x.shape)} {dtype}"]
    words += [f"autocast {autocast}"] if autocast else []
    words += ["channels_last"] if channels_last else []
    log.about = " · ".join([*words, f"{time.perf_counter() - started:.1f} s"])
    log.notes += [hint] if hint else []
    return log


def _cast(device: str, dtype: str | None) -> Any:
    """A context of its own for each run: autocast keeps the weights that it has cast, and those of
    a run without gradients have none.
    """
    kind = device.partition(":")[0]
    return torch.autocast(kind, getattr(torch, dtype)) if dtype else nullcontext()


def _check_device(device: str) -> None:
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        text = str(error).strip().splitlines()[0]
        raise UnavailableError(f"--device {device}: torch says: {text}") from None


def _channels_last(net: Any, x: torch.Tensor) -> tuple[Any, torch.Tensor]:
    """Model and input in the memory format of the input's rank."""
    known = {4: torch.channels_last, 5: torch.channels_last_3d}
    if x.dim() not in known:
        raise UsageError(f"--channels-last: the input must have 4 or 5 axes, got {x.dim()}")
    return net.to(memory_format=known[x.dim()]), x.to(memory_format=known[x.dim()])


def _run(net: Any, x: torch.Tensor, backward: bool, cast: Any) -> None:
    """Forward, and the gradients of a mean of squares."""
    with torch.set_grad_enabled(backward), cast:
        y = net(x.requires_grad_(backward))
    if not backward:
        return
    leaves = _pytree.tree_leaves(y)
    found = [y for y in leaves if isinstance(y, torch.Tensor) and y.requires_grad]
    if not found:
        raise UsageError("--backward: the model's result has no gradient")
    torch.stack([y.abs().float().square().mean() for y in found]).sum().backward()
