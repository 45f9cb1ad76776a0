// winograd.cuh — Winograd's F(OUT x OUT, 3x3): the call as its kernels see it, the three transforms.
//
//   y = AT [ (G w GT) * (BT d B) ] A      for a tile d of SIZE x SIZE of x, and OUT x OUT of y
//
// A point p of those at which the polynomials meet (0, 1, -1 and, of F(4), 1/2, -2; and infinity)
// costs accuracy with its size; 1/2 with -2 lose least. The tables are those of
// kernels/numba_cpu/winograd_matrices.py, where they are derived.
//
// Macro: OUT, 2 or 4.
#pragma once
#include "types.cuh"

#ifndef OUT
#define OUT 4
#endif

constexpr int SIZE = OUT + 2;       // of a tile's side
constexpr int POINTS = SIZE * SIZE; // products of a tile

// fprop: x is the source, y the result. dgrad: y is the source, x the result, and the kernel is
// turned round (w_first is its last tap, w_h and w_w are negative).
struct WinogradGeometry {
  int N, C, K;                 // images of this launch, channels of the source and of the result
  int IH, IW, OH, OW;          // source and result
  int padding_h, padding_w;
  int TY, TX;                  // tiles of an image
  int first;                   // image
  int C_pitch, K_pitch, pitch; // of the workspaces: channels, and tiles, with zeros behind them
  offset x_n, x_c, x_h, x_w;   // of the source
  offset y_n, y_c, y_h, y_w;   // of the result
  offset w_first, w_k, w_c, w_h, w_w;
  offset b_k;
};

static_assert(sizeof(WinogradGeometry) == 15 * 4 + (sizeof(offset) == 8 ? 4 : 0) +
                  14 * sizeof(offset), "as packed by the plan");

struct Out {
  __device__ __forceinline__ accumulator operator()(int i, int j) const {
#if OUT == 2
    constexpr accumulator t[2][4] = {{1, 1, 1, 0}, {0, 1, -1, 1}};
#else
    constexpr accumulator t[4][6] = {
        {1, 1, 1, 1, 1, 0}, {0, 1, -1, 0.5, -2, 0}, {0, 1, 1, 0.25, 4, 0}, {0, 1, -1, 0.125, -8, 1}};
#endif
    return t[i][j];
  }
};

struct Filter {
  __device__ __forceinline__ accumulator operator()(int i, int j) const {
#if OUT == 2
    constexpr accumulator t[4][3] = {{-1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
#else
    constexpr accumulator t[6][3] = {
        {0.5, 0, 0},
        {1.0 / 6, 1.0 / 6, 1.0 / 6},
        {-1.0 / 6, 1.0 / 6, -1.0 / 6},
        {-16.0 / 15, -8.0 / 15, -4.0 / 15},
        {1.0 / 30, -1.0 / 15, 2.0 / 15},
        {0, 0, 1}};
#endif
    return t[i][j];
  }
};

struct Input {
  __device__ __forceinline__ accumulator operator()(int i, int j) const {
#if OUT == 2
    constexpr accumulator t[4][4] = {{-1, 0, 1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, -1, 0, 1}};
#else
    constexpr accumulator t[6][6] = {
        {2, -3, -4, 3, 2, 0}, {0, -2, 1, 5, 2, 0}, {0, 2, -5, 1, 2, 0},
        {0, -2, -1, 2, 1, 0}, {0, 1, -2, -1, 2, 0}, {0, 1, -1.5, -2, 1.5, 1}};
#endif
    return t[i][j];
  }
};

// Row i of a table times FROM numbers; zeros of the table are left out, not multiplied.
template <int FROM, class Table, class Numbers>
__device__ __forceinline__ accumulator row_times(int i, Numbers numbers) {
  accumulator sum = 0;
#pragma unroll
  for (int j = 0; j < FROM; j++)
    if (Table{}(i, j) != 0) sum += Table{}(i, j) * numbers(j);
  return sum;
}

// table @ from @ table's transpose: FROM x FROM numbers to TO x TO, which put(i, j, v) takes. First
// the columns, then the rows.
template <class Table, int TO, int FROM, class Put>
__device__ __forceinline__ void both_axes(const accumulator (&from)[FROM][FROM], Put put) {
  accumulator half[TO][FROM];
#pragma unroll
  for (int i = 0; i < TO; i++)
#pragma unroll
    for (int j = 0; j < FROM; j++)
      half[i][j] = row_times<FROM, Table>(i, [&](int k) { return from[k][j]; });
#pragma unroll
  for (int i = 0; i < TO; i++)
#pragma unroll
    for (int j = 0; j < TO; j++)
      put(i, j, row_times<FROM, Table>(j, [&](int k) { return half[i][k]; }));
}

// Tile `at` of this launch: its image, and its row and column of tiles.
struct Tile { int n, y, x; };

__device__ __forceinline__ Tile tile_of(int at, const WinogradGeometry &g) {
  return {g.first + at / (g.TY * g.TX), at / g.TX % g.TY, at % g.TX};
}
