// outside.cuh — taps outside the input, for kernels that do not skip them but multiply by a zero.
//
// 0 * w is nothing to add, unless w is infinite or NaN: then the product would be NaN, where the
// contract skips it. So a zero that stands for "outside" is written as -0, and no element that is
// there is -0 (`present` turns it into +0, which changes no sum). While weights are loaded, each is
// looked at; only a block that has met one that is not finite then multiplies with care, leaving
// out what is outside. Others pay an addition for each element loaded.
#pragma once
#include "types.cuh"

// What stands for an element outside the input.
__device__ __forceinline__ accumulator outside() { return static_cast<accumulator>(-0.0); }
__device__ __forceinline__ bool is_outside(float v) { return __float_as_uint(v) == 0x80000000u; }
__device__ __forceinline__ bool is_outside(double v) {
  return __double_as_longlong(v) == static_cast<long long>(1ull << 63);
}
// An element that is there.
__device__ __forceinline__ accumulator present(element v) { return widen(v) + accumulator(0); }

__device__ __forceinline__ bool is_finite(accumulator v) { return v - v == 0; }
