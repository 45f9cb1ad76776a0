"""Fragments and asynchronous copies in the emulator; that their PTX compiles, by the real compiler.

The layouts come from the PTX manual; that a GPU agrees is not shown here.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from refconv.backends import _cuda_emulator as emulator
from refconv.backends import _cuda_nvrtc as nvrtc
from refconv.backends import unavailable
from refconv.backends._cuda_launch import Launch

from .test_compile_gate import needs_compiler

here = pytest.mark.skipif(
    unavailable("cuda-on-cpu") is not None, reason=str(unavailable("cuda-on-cpu"))
)

#: d (16, 8) = a (16, K) b (8, K)^T, by one warp.
PRODUCTS = r"""
#include "ptx.cuh"
// 16 bits: through shared memory, with asynchronous copies and ldmatrix
extern "C" __global__ void product(float *d, const element *a, const element *b, int n) {
  __shared__ __align__(16) element left[16 * 16], right[8 * 16];
  const int lane = threadIdx.x, row = lane / 4, column = lane % 4 * 2;
  copy_async_16(left + lane * 8, a + lane * 8, true);
  copy_async_16(right + lane % 16 * 8, b + lane % 16 * 8, true);
  copy_async_commit();
  copy_async_wait<0>();
  __syncthreads();
  unsigned fa[4], fb[4];
  load_matrices(fa, left + lane % 16 * 16 + lane / 16 * 8);
  load_matrices(fb, right + lane % 8 * 16 + lane / 8 % 2 * 8);
  const unsigned pair[2] = {fb[0], fb[1]};
  float sum[4] = {};
  multiply_add(sum, fa, pair, element{});
  for (int i = 0; i < 4; i++) d[(row + i / 2 * 8) * 8 + column + i % 2] = sum[i];
}
// the same with b stored (K, 8): its fragments are transposed on the way
extern "C" __global__ void product_of_columns(float *d, const element *a, const element *b, int n) {
  __shared__ __align__(16) element left[16 * 16], right[16 * 8];
  const int lane = threadIdx.x, row = lane / 4, column = lane % 4 * 2;
  for (int i = lane; i < 256; i += 32) left[i] = a[i];
  for (int i = lane; i < 128; i += 32) right[i] = b[i];
  __syncwarp();
  unsigned fa[4], fb[4];
  load_matrices(fa, left + lane % 16 * 16 + lane / 16 * 8);
  load_matrices_transposed(fb, right + lane % 16 * 8);
  const unsigned pair[2] = {fb[0], fb[1]};
  float sum[4] = {};
  multiply_add(sum, fa, pair, element{});
  for (int i = 0; i < 4; i++) d[(row + i / 2 * 8) * 8 + column + i % 2] = sum[i];
}
"""
TF32 = r"""
#include "ptx.cuh"
extern "C" __global__ void product_tf32(float *d, const float *a, const float *b, int n) {
  const int lane = threadIdx.x, row = lane / 4, column = lane % 4;
  unsigned fa[4], fb[2];
  for (int i = 0; i < 4; i++) fa[i] = tf32_of(a[(row + i % 2 * 8) * 8 + column + i / 2 * 4]);
  for (int i = 0; i < 2; i++) fb[i] = tf32_of(b[row * 8 + column + i * 4]);
  float sum[4] = {};
  multiply_add_tf32(sum, fa, fb);
  for (int i = 0; i < 4; i++) d[(row + i / 2 * 8) * 8 + column * 2 + i % 2] = sum[i];
}
"""


def run(folder: Path, text: str, kernel: str, dtype: str, a, b) -> torch.Tensor:
    (folder / "products.cu").write_text(text)
    emulator._library.cache_clear()
    d = torch.full((16, 8), torch.nan)
    launch = Launch(str(folder / "products.cu"), kernel, (("ELEMENT", dtype),), (1, 1, 1),
                    (32, 1, 1), ("d", "a", "b", 0))  # fmt: skip
    emulator.execute([launch], {"d": d.data_ptr(), "a": a.data_ptr(), "b": b.data_ptr()}, d)
    return d


def operands(dtype: str, depth: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(3)
    of = getattr(torch, dtype)
    return tuple(torch.randint(-9, 10, (n, depth), generator=random).to(of) for n in (16, 8))


@here
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("turns", emulator.ORDERS)
def test_products_of_16_bits(tmp_path, dtype: str, turns: str) -> None:
    a, b = operands(dtype, 16)
    with emulator.order(turns):
        assert torch.equal(run(tmp_path, PRODUCTS, "product", dtype, a, b), a.float() @ b.float().T)
        columns = run(tmp_path, PRODUCTS, "product_of_columns", dtype, a, b.T.contiguous())
    assert torch.equal(columns, a.float() @ b.float().T)


@here
def test_products_of_tf32(tmp_path) -> None:
    a, b = operands("float32", 8)
    assert torch.equal(run(tmp_path, TF32, "product_tf32", "float32", a, b), a @ b.T)
    a[0, 0], b[0, 0] = 1 + 2**-11, 1 + 2**-10 + 2**-12  # rounded: to 1 + 2^-10, both
    a[0, 1:], b[0, 1:] = 0, 0
    got = run(tmp_path, TF32, "product_tf32", "float32", a, b)
    assert got[0, 0].item() == (1 + 2**-10) ** 2


BUGS = {
    "a copy that is not waited for": ("copy_async_wait<0>();", ""),
    "a wait that leaves a group": ("copy_async_wait<0>();", "copy_async_wait<1>();"),
    "a group that was not ended": ("copy_async_commit();", ""),
    "rows of the wrong matrix": ("lane / 16 * 8", "lane % 2 * 8"),
    "halves of b exchanged": ("{fb[0], fb[1]}", "{fb[1], fb[0]}"),
    "a result in the wrong row": ("row + i / 2 * 8", "row + i % 2 * 8"),
}


@here
@pytest.mark.parametrize("bug", BUGS)
def test_planted_bugs_are_found(tmp_path, bug: str) -> None:
    a, b = operands("bfloat16", 16)
    old, new = BUGS[bug]
    assert old in PRODUCTS
    got = run(tmp_path, PRODUCTS.replace(old, new), "product", "bfloat16", a, b)
    assert not torch.equal(got, a.float() @ b.float().T)


@here
def test_alignment_is_checked(tmp_path) -> None:
    a, b = operands("bfloat16", 16)
    for old, said in (("left + lane * 8", "asynchronous copy is not aligned to its 16 bytes"),
                      ("left + lane % 16 * 16", "a row is not aligned to 16 bytes")):  # fmt: skip
        wrong = PRODUCTS.replace(old, old.replace("left", "left + 1"))
        with pytest.raises(emulator.EmulatorError, match=said):
            run(tmp_path, wrong, "product", "bfloat16", a, b)


@needs_compiler
@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
def test_it_compiles_for_a_gpu(tmp_path, arch: str) -> None:
    for dtype, text, words in (
        ("float16", PRODUCTS, ["product", "product_of_columns"]),
        ("bfloat16", PRODUCTS, ["product", "product_of_columns"]),
        ("float32", TF32, ["product_tf32"]),
    ):
        (tmp_path / "products.cu").write_text(text)
        cubin, log = nvrtc.compiled(str(tmp_path / "products.cu"), (("ELEMENT", dtype),), arch)
        assert cubin[:4] == b"\x7fELF"
        assert all(f"'{word}'" in log for word in words)
