"""The emulator on kernels of a few lines: what CUDA allows works, what it forbids is reported."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from refconv.backends import _cuda_emulator as emulator
from refconv.backends import unavailable
from refconv.backends._cuda_launch import Launch

pytestmark = pytest.mark.skipif(
    unavailable("cuda-on-cpu") is not None, reason=str(unavailable("cuda-on-cpu"))
)

#: Kernels that are right. Each writes y[thread] for a block of 64 threads.
RIGHT = r"""
#include "types.cuh"
extern "C" __global__ void turn(int *y, int n) {  // a block's shared memory, dynamic
  DYN_SHARED(int, held);
  held[threadIdx.x] = threadIdx.x;
  __syncthreads();
  y[threadIdx.x] = held[n - 1 - threadIdx.x];
}
extern "C" __global__ void neighbours(int *y, int n) {
  const int lane = threadIdx.x % 32;
  int v = __shfl_down_sync(~0u, lane, 1) * 10000 + __shfl_up_sync(~0u, lane, 2) * 100;
  v += __shfl_xor_sync(~0u, lane, 1, 2);
  y[threadIdx.x] = v + __shfl_sync(~0u, lane, 3, 8) * 1000000;
}
extern "C" __global__ void votes(int *y, int n) {
  const unsigned odd = __ballot_sync(~0u, threadIdx.x % 2);
  const int many = __syncthreads_count(threadIdx.x < 5);
  const bool any = __syncthreads_or(threadIdx.x == 7), all = __syncthreads_and(threadIdx.x < 64);
  y[threadIdx.x] = (odd == 0xaaaaaaaau) + 10 * many + 1000 * any + 10000 * all;
}
extern "C" __global__ void half_a_warp(int *y, int n) {
  if (threadIdx.x % 32 < 16) y[threadIdx.x] = __shfl_xor_sync(0xffffu, (int)threadIdx.x, 1);
  else y[threadIdx.x] = -1;
}
extern "C" __global__ void counted(int *y, int n) {
  __shared__ int count;
  if (threadIdx.x == 0) count = 0;
  __syncthreads();
  atomicAdd(&count, 1);
  __syncthreads();
  y[threadIdx.x] = count;
}
extern "C" __global__ void poisoned(int *y, int n) {
  __shared__ int held[64];
  y[threadIdx.x] = held[threadIdx.x];
}
"""

#: Body → what is said of it.
WRONG = {
    "if (threadIdx.x < 32) __syncthreads();": "32 of 64 threads have ended",
    "if (threadIdx.x < 32)\n__syncthreads();\nelse\n__syncthreads();": "divergent barrier: threads",
    "if (threadIdx.x % 2) return;\n__syncwarp();": "waits for lane 1, which has ended",
    "if (threadIdx.x % 2) __syncwarp();\n__syncthreads();": "not every lane of mask 0xffffffff",
    "__syncwarp(2u);": "lane 0 is not in its own mask",
    "DYN_SHARED(int, s);\ns[threadIdx.x + 1] = 1;": "wrote byte 0 behind its 256 bytes of dynamic",
    "DYN_SHARED(int, s);\ns[(int)threadIdx.x - 1] = 1;": "before its 256 bytes of dynamic",
    "y[(1 << 28) * (threadIdx.x + 1)] = 1;": r"thread \(0, 0, 0\): no memory at address",
    "if (threadIdx.x == 3) __trap();": r"thread \(3, 0, 0\): .*: trap",
}


def run(folder: Path, text: str, kernel: str, turns: str = "forward", **changed) -> np.ndarray:
    """The kernel's y, for one block of 64 threads."""
    path = folder / "small.cu"
    path.write_text(text)
    emulator._library.cache_clear()  # which goes by the file's name
    y = np.full(64, -7, np.int32)
    launch = Launch(str(path), kernel, (("ELEMENT", "float32"),), (1, 1, 1), (64, 1, 1),
                    ("y", 64), 64 * 4)  # fmt: skip
    launch = Launch(**{**launch.__dict__, **changed})
    with emulator.order(turns):
        emulator.execute([launch], {"y": y.ctypes.data}, y)
    return y


LANE = np.arange(64) % 32
EXPECTED = {
    "turn": 63 - np.arange(64),
    "neighbours": np.minimum(LANE + 1, 31) * 10000
    + np.where(LANE < 2, LANE, LANE - 2) * 100
    + (LANE ^ 1)
    + (LANE // 8 * 8 + 3) * 1000000,
    "votes": np.full(64, 1 + 50 + 1000 + 10000),
    "half_a_warp": np.where(LANE < 16, np.arange(64) ^ 1, -1),
    "counted": np.full(64, 64),
    "poisoned": np.full(64, -1),
}


@pytest.mark.parametrize("turns", emulator.ORDERS)
@pytest.mark.parametrize("kernel", EXPECTED)
def test_what_is_allowed_works(tmp_path, kernel, turns):
    assert run(tmp_path, RIGHT, kernel, turns).tolist() == EXPECTED[kernel].tolist()


@pytest.mark.parametrize("body", WRONG)
def test_what_is_forbidden_is_reported(tmp_path, body):
    lines = f'#include "types.cuh"\nextern "C" __global__ void wrong(int *y, int n) {{\n{body}\n}}'
    with pytest.raises(emulator.EmulatorError, match=WRONG[body]):
        run(tmp_path, lines, "wrong")


def test_arguments_must_be_the_kernels(tmp_path):
    """Which a GPU does not look at."""
    with pytest.raises(emulator.EmulatorError, match="another number of arguments"):
        run(tmp_path, RIGHT, "turn", arguments=("y",))
    with pytest.raises(emulator.EmulatorError, match="another size"):
        run(tmp_path, RIGHT, "turn", arguments=("y", struct.pack("q", 64)))


def test_what_does_not_compile_is_shown(tmp_path):
    with pytest.raises(emulator.BuildError, match="no_such_thing"):
        run(tmp_path, RIGHT.replace("held[n - 1", "no_such_thing[n - 1"), "turn")


#: Every float16, and floats beside and between them.
CONVERSIONS = r"""
#include "types.cuh"
extern "C" __global__ void widened(float *y, const element *x, int n) {
  for (int i = threadIdx.x; i < n; i += 64) y[i] = load(x + i);
}
extern "C" __global__ void narrowed(element *y, const float *x, int n) {
  for (int i = threadIdx.x; i < n; i += 64) store(y + i, x[i]);
}
"""


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bits_are_rounded_as_torch_does(tmp_path, dtype):
    import torch

    of = getattr(torch, dtype)
    path = tmp_path / "conversions.cu"
    path.write_text(CONVERSIONS)
    every = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(of)
    wide = torch.empty(2**16, dtype=torch.float32)
    call(path, "widened", dtype, wide, every)
    assert torch.equal(wide, every.float()) or same(wide, every.float())
    # between neighbours: below the middle, the middle, above it
    bits = wide.view(torch.int32)
    shift = 13 if dtype == "float16" else 16
    half = 1 << (shift - 1)
    near = torch.cat([bits + half + d for d in (-1, 0, 1)] + [bits]).view(torch.float32)
    near = torch.cat([near, torch.tensor([1e-8, -3e-8, 65519.9, 65520.0, 1e-40, 3e38, -3.4e38])])
    got = torch.empty(near.numel(), dtype=of)
    call(path, "narrowed", dtype, got, near)
    assert same(got.float(), near.to(of).float())


def same(a, b) -> bool:
    """Equal, NaN with NaN, and zeros of one sign."""
    import torch

    fine = (a == b) & (torch.signbit(a) == torch.signbit(b))
    return bool((fine | (a.isnan() & b.isnan())).all())


def call(path: Path, kernel: str, dtype: str, y, x) -> None:
    launch = Launch(str(path), kernel, (("ELEMENT", dtype),), (1, 1, 1), (64, 1, 1),
                    ("y", "x", x.numel()))  # fmt: skip
    emulator.execute([launch], {"y": y.data_ptr(), "x": x.data_ptr()}, y)
