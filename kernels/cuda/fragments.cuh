// fragments.cuh — a warp's part of a matrix product from shared memory: rows of 64 bytes, swizzled;
// fragments by ldmatrix; products in the element type, or for floats in TF32.
//
// ldmatrix moves rows of 16 bytes: 8 elements of 16 bits or 4 floats, and what lane gets which is
// the same for mma's m16n8k16 of 16 bits and m16n8k8 of TF32. So all is counted in bytes here: one
// step multiplies 32 bytes of a row of `a` with 32 bytes of a row of `b`.
//
// Floats: TERMS 1 rounds them to TF32, 11 digits. TERMS 3 splits each into two such numbers, v = hi
// + lo up to 2^-22 of v, and adds lo hi' + hi lo' + hi hi'; what is left out is at most 3 * 2^-22 =
// 12 u of every product (u = 2^-24). These three are added up from zero and then to the sum by an
// ordinary addition, which rounds to nearest, where a tensor core's own additions truncate.
#pragma once
#include "igemm_result.cuh"
#include "ptx.cuh"

#ifndef TERMS
#define TERMS 1
#endif

constexpr int CHUNKS = 4;                     // of a row
constexpr int DEPTH = CHUNKS * VECTOR;        // elements of a row

// Where a chunk of a row lies in a tile, in elements. Two rows are 128 bytes, all banks; every two
// rows the chunks change places, so that 8 rows' chunks of one column lie in different banks.
__device__ __forceinline__ int swizzled(int row, int chunk) {
  return (row * CHUNKS + (chunk ^ (row / 2 % CHUNKS))) * VECTOR;
}

// 16 rows of `a` from `row` on, 32 bytes from chunk 2 * step on: a fragment.
__device__ __forceinline__ void load_left(unsigned (&a)[4], const element *tile, int row, int step) {
  const int lane = threadIdx.x % 32;
  load_matrices(a, tile + swizzled(row + lane % 16, 2 * step + lane / 16));
}

// 16 rows of `b`, which are columns of the product: two fragments.
__device__ __forceinline__ void load_right(unsigned (*b)[2], const element *tile, int row,
                                           int step) {
  const int lane = threadIdx.x % 32;
  unsigned both[4];
  load_matrices(both, tile + swizzled(row + lane / 16 * 8 + lane % 8, 2 * step + lane / 8 % 2));
  b[0][0] = both[0], b[0][1] = both[1], b[1][0] = both[2], b[1][1] = both[3];
}

template <class T, int ROWS, int COLUMNS>
__device__ __forceinline__ void multiply_all(float (&sum)[ROWS][COLUMNS][4],
                                             unsigned (&a)[ROWS][4], unsigned (&b)[COLUMNS][2],
                                             T kind) {
#pragma unroll
  for (int i = 0; i < ROWS; i++)
#pragma unroll
    for (int j = 0; j < COLUMNS; j++) multiply_add(sum[i][j], a[i], b[j], kind);
}

#if TERMS == 3
constexpr bool SPLIT = true;
#else
constexpr bool SPLIT = false;
#endif

// v rounded to TF32 (11 digits); with SPLIT, `low` gets the next 11 of it.
template <int COUNT>
__device__ __forceinline__ void round_tf32(unsigned (&v)[COUNT], unsigned (&low)[COUNT]) {
#pragma unroll
  for (int i = 0; i < COUNT; i++) {
    const float whole = __uint_as_float(v[i]);
    v[i] = tf32_of(whole);
    if (SPLIT) low[i] = tf32_of(whole - __uint_as_float(v[i]));
  }
}

template <int ROWS, int COLUMNS>
__device__ __forceinline__ void multiply_all(float (&sum)[ROWS][COLUMNS][4],
                                             unsigned (&a)[ROWS][4], unsigned (&b)[COLUMNS][2],
                                             float) {
  unsigned a_low[ROWS][4], b_low[COLUMNS][2];
#pragma unroll
  for (int i = 0; i < ROWS; i++) round_tf32(a[i], a_low[i]);
#pragma unroll
  for (int j = 0; j < COLUMNS; j++) round_tf32(b[j], b_low[j]);
#pragma unroll
  for (int i = 0; i < ROWS; i++)
#pragma unroll
    for (int j = 0; j < COLUMNS; j++) {
      if (!SPLIT) {
        multiply_add_tf32(sum[i][j], a[i], b[j]);
        continue;
      }
      float part[4] = {};
      multiply_add_tf32(part, a_low[i], b[j]);
      multiply_add_tf32(part, a[i], b_low[j]);
      multiply_add_tf32(part, a[i], b[j]);
#pragma unroll
      for (int e = 0; e < 4; e++) sum[i][j][e] += part[e];
    }
}
