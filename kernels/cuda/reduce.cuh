// reduce.cuh — sums over a block, always in the same order: the same bits every time.
#pragma once
#include "types.cuh"

// The sum of every thread's value, for thread 0 alone. Every thread of a one-dimensional block comes
// here; `partial` is shared memory for THREADS values, a power of two.
template <int THREADS>
__device__ __forceinline__ accumulator block_sum(accumulator value, accumulator *partial) {
  partial[threadIdx.x] = value;
#pragma unroll
  for (int half = THREADS / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
  }
  return partial[threadIdx.x];  // its own: another's may still be written
}
