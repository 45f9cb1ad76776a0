"""Seeded inputs for a problem, in kinds that find different faults; the first two are always run.

``integer``: whole numbers so small that every partial sum is exact in the accumulator. Any order
then gives the same bits, so the results must be equal, and a wrong index cannot hide. ``real``:
zero-mean normal numbers, which cancel and round: lost precision shows. ``uniform``: 0 … 1, nothing
cancels. ``image``: 128 and noise under filters of zero sum, so that nearly all cancels. ``scaled``:
channels from 1e-5 to 1e5, in which a tolerance for the whole tensor is blind. An image can stand in
for the real input of a first layer.
"""

from __future__ import annotations

from math import isqrt, prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import UsageError
from ..moves import IndexProblem
from ..notation import input_shape
from ..problem import ConvProblem, PoolProblem
from . import calls
from .bound import DIGITS, PARTS, STORED

#: How an image's channels are read.
IMAGE_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
#: The kinds of numbers that ``make`` knows.
KINDS = ("integer", "real", "uniform", "image", "scaled")
_PRIMES = (31, 29, 23, 19, 17, 13, 11, 7, 5, 3)


def make(problem: Any, kind: str, seed: int = 0) -> calls.Arrays:
    """The op's arrays as CPU tensors of the problem's dtype.

    Args:
        kind: of ``KINDS``.
    """
    rng = np.random.default_rng([seed, kind == "integer"])
    limit = amplitude(problem)
    shape = input_shape(problem)
    values = positions(shape, limit, seed) if kind == "integer" else _drawn(shape, kind, rng)
    if kind == "scaled":
        values = values * _scales(shape, -1 - problem.rank, problem, rng)
    if getattr(problem, "norm", None) is not None and problem.norm % 2:
        values = np.abs(values)  # other powers of negative numbers have no root
    made = {"input": tensor(values, problem.dtype, rng, kind)}
    if isinstance(problem, ConvProblem):
        shapes = {"weight": problem.weight_shape, "bias": (problem.out_channels,)}
        fan_in = max(1, prod(problem.weight_shape[1:]))
        for name in calls.names(problem)[1:]:
            if kind == "integer":
                values = rng.integers(-limit, limit + 1, shapes[name])
            else:
                values = _drawn(shapes[name], kind, rng, centre=0.0) / np.sqrt(fan_in)
            if kind in ("image", "scaled") and name == "weight":
                values = _filters(problem, values, kind, rng)
            made[name] = tensor(values, problem.dtype, rng, kind)
    if isinstance(problem, IndexProblem):
        made["indices"] = _indices(problem, rng)
    return made


def gradient(problem: Any, kind: str, seed: int = 0) -> torch.Tensor:
    """The gradient that is sent back from the output."""
    rng = np.random.default_rng([seed, 2 + (kind == "integer")])
    limit, shape = amplitude(problem), problem.output_shape
    if kind == "integer":
        values = rng.integers(-limit, limit + 1, shape)
    else:
        values = _drawn(shape, kind, rng)
    if kind == "scaled":
        values = values * _scales(shape, -1 - problem.rank, problem, rng)
    return tensor(values, problem.dtype, rng, kind)


def _drawn(
    shape: tuple[int, ...], kind: str, rng: np.random.Generator, centre: float = 128.0
) -> np.ndarray:
    """Random numbers of a kind that is not whole; an image's are around ``centre``."""
    if kind == "uniform":
        return rng.random(shape)
    return rng.standard_normal(shape) + (centre if kind == "image" else 0.0)


def _scales(
    shape: tuple[int, ...], axis: int, problem: Any, rng: np.random.Generator
) -> np.ndarray:
    """Powers of ten for each position on ``axis``, from 1e-5 to 1e5; 16 bits have less room."""
    decades = 0.5 if PARTS.get(problem.dtype, problem.dtype) in STORED else 5.0
    if not -len(shape) <= axis:
        return np.ones(())
    powers = rng.permutation(np.linspace(-decades, decades, shape[axis]))
    return 10.0 ** powers.reshape(-1, *(1,) * (-1 - axis))


def _filters(
    problem: ConvProblem, values: np.ndarray, kind: str, rng: np.random.Generator
) -> np.ndarray:
    """Weights of which each output channel's sum to zero, or have a scale of their own."""
    if not problem.transposed:
        if kind == "scaled":
            return values * _scales(values.shape, -values.ndim, problem, rng)
        return values - values.mean(axis=tuple(range(1, values.ndim)), keepdims=True)
    if kind == "scaled":
        return values * _scales(values.shape, -values.ndim + 1, problem, rng)
    grouped = values.reshape(problem.groups, -1, *values.shape[1:])
    axes = (1, *range(3, grouped.ndim))
    return (grouped - grouped.mean(axis=axes, keepdims=True)).reshape(values.shape)


def amplitude(problem: Any) -> int:
    """The largest A with ``n*A*A + A`` exact in the accumulator, for every pass of the problem; at
    most 15 (F11).

    For 16 bits and fewer it is 2: results should be small enough to be stored exactly as well.
    """
    part = PARTS.get(problem.dtype, problem.dtype)
    if part in STORED:
        return 2
    digits = min(DIGITS.get(part, 24), 30) - 2 * (problem.dtype in PARTS)
    terms = 1
    if isinstance(problem, ConvProblem):
        n = (problem.batch or 1) * max(prod(problem.out_size), prod(problem.in_size))
        per_group = max(problem.in_channels, problem.out_channels) // problem.groups
        terms = max(n, per_group * prod(problem.kernel))
    elif isinstance(problem, PoolProblem) and problem.kernel:
        terms = prod(problem.kernel)
    return max(1, min(15, isqrt(2**digits // (terms + 1))))


def positions(shape: tuple[int, ...], limit: int, seed: int) -> np.ndarray:
    """Whole numbers in -limit … limit that tell where they stand: the linear index modulo a prime.

    The prime divides no stride of the array, so that a step along any axis changes the number.
    """
    strides = [prod(shape[a + 1 :]) for a in range(len(shape))]
    fitting = [p for p in _PRIMES if p <= 2 * limit + 1] or [3]
    prime = next((p for p in fitting if all(s % p for s in strides if s)), fitting[0])
    values = (np.arange(prod(shape), dtype=np.int64) + seed) % prime - prime // 2
    return values.reshape(shape)


def tensor(values: np.ndarray, dtype: str, rng: np.random.Generator, kind: str) -> torch.Tensor:
    """``values`` as a tensor of ``dtype``: rounded, made whole or non-negative, or given an
    imaginary part.
    """
    if dtype.startswith("complex"):
        shuffled = rng.permutation(values.ravel()).reshape(values.shape)
        values = values + 1j * shuffled
    elif "float" not in dtype:
        values = np.rint(values * (1 if kind == "integer" else 4)).astype(np.int64)
        if dtype == "bool":
            values = values % 2
        elif dtype.startswith("u"):
            values = np.abs(values)
    return torch.from_numpy(np.ascontiguousarray(values)).to(getattr(torch, dtype))


def takes_image(problem: Any) -> bool:
    """Whether a picture can be the input: a 2-D convolution or pooling of 1, 3 or 4 channels of
    floats.
    """
    known = isinstance(problem, ConvProblem | PoolProblem) and problem.rank == 2
    if not known or "float" not in problem.dtype:
        return False
    return input_shape(problem)[-3] in IMAGE_MODES


def picture(path: Path, shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    """The picture at ``path``, cropped to the proportions of ``shape``, resized to it, scaled to
    0 … 1; once a batch row.

    Raises:
        UsageError: the file is missing or no picture, or an array of this shape or dtype is none.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if len(shape) not in (3, 4) or shape[-3] not in IMAGE_MODES or "float" not in dtype:
        raise UsageError(
            f"--image: an input {shape} of {dtype} is no picture (2-D, 1, 3 or 4 channels, floats)"
        )
    channels, height, width = shape[-3:]
    try:
        with Image.open(path) as opened:
            fitted = ImageOps.fit(opened.convert(IMAGE_MODES[channels]), (width, height))
    except FileNotFoundError:
        raise UsageError(f"--image: {path} cannot be read: no such file") from None
    except UnidentifiedImageError:
        raise UsageError(f"--image: {path} cannot be read: it is no picture") from None
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"--image: {path} cannot be read: {reason}") from None
    pixels = np.asarray(fitted, dtype=np.float64).reshape(height, width, channels) / 255
    values = np.broadcast_to(pixels.transpose(2, 0, 1), shape)
    return torch.from_numpy(np.ascontiguousarray(values)).to(getattr(torch, dtype))


def _indices(problem: IndexProblem, rng: np.random.Generator) -> torch.Tensor:
    """Flat positions in the large side, distinct within a plane (equal ones would leave the winner
    undefined).
    """
    planes, small, large = prod(problem.lead), prod(problem.small), prod(problem.large)
    rows = [np.resize(rng.permutation(large), small) for _ in range(planes)]
    flat = np.array(rows, dtype=np.int64).reshape(*problem.lead, *problem.small)
    return torch.from_numpy(flat)
