// depthwise.cuh — depthwise convolution in NCHW, forwards (with slide.cuh) and back (unslide.cuh):
// the same walk over a tile in shared memory. See conv_5_depthwise.cu.
#pragma once
#include "geometry.cuh"
#include "planes.cuh"

// One of x and y.
struct Side {
  int C, H, W;
  offset n, c, h, w;
};

__device__ __forceinline__ Side side_x(const ConvGeometry &g) {
  return {g.C, g.IH, g.IW, g.x_n, g.x_c, g.x_h, g.x_w};
}
__device__ __forceinline__ Side side_y(const ConvGeometry &g) {
  return {g.K, g.OH, g.OW, g.y_n, g.y_k, g.y_h, g.y_w};
}

using Part2 = Tile<STEP_H, STEP_W, SPAN_H, SPAN_W>;

// Computes the block's part of `out` from `in`. What lies outside `in` is multiplied as 0; where a
// weight is infinite or NaN that would be NaN, so there exact(n, c, h, w) gives an element instead.
//
// BACK: `out` is x. A channel of x meets g.K / g.C channels of y, one after another.
template <bool BACK, class Exact>
__device__ __forceinline__ void depthwise(element *out, const Side &to, const element *in,
                                          const Side &from, const element *w, const element *b,
                                          const ConvGeometry &g, accumulator *tile, int64 *planes,
                                          Exact exact) {
  const int M = g.K / g.C;
  const Part part = part_of_block(to.H, to.W);
  const Own own = own_outputs();
  const unsigned plane = part.plane + own.plane;
  const int n = plane / to.C, c = plane % to.C;
  const bool there = n < g.N;
  const accumulator bias = b && there ? load(b + c * g.b_k) : 0;
  accumulator sum[ROWS][COLUMNS];
#pragma unroll
  for (int j = 0; j < ROWS; j++)
#pragma unroll
    for (int i = 0; i < COLUMNS; i++) sum[j][i] = bias;

  bool finite = true;
#pragma unroll 1
  for (int m = 0; m < (BACK ? M : 1); m++) {
    __syncthreads();  // the last tile is used up
    for (int i = threadIdx.x; i < PLANES; i += THREADS) {
      const unsigned q = part.plane + i;
      const int image = q / to.C, own_c = q % to.C, other = BACK ? own_c * M + m : own_c / M;
      planes[i] = image < g.N ? static_cast<int64>(image) * from.n +
                                    static_cast<int64>(other) * from.c : -1;
    }
    __syncthreads();  // where planes begin is known
    Part2::fill(tile, in, planes, top_of(part.row, g.padding_h), left_of(part.column, g.padding_w),
                from.H, from.W, from.h, from.w, 0);
    accumulator taps[TAPS_H * TAPS_W];
    const element *weights = w + (BACK ? c * M + m : c) * g.w_k;
#pragma unroll
    for (int k = 0; k < TAPS_H * TAPS_W; k++) {
      taps[k] = there ? load(weights + k / TAPS_W * g.w_h + k % TAPS_W * g.w_w) : 0;
      finite &= taps[k] - taps[k] == 0;
    }
    __syncthreads();  // the tile is whole

    const accumulator *at = Part2::at(tile, own);
#pragma unroll
    for (int r = 0; r < SPAN_H; r++) {
      accumulator v[Part2::WIDTH];
      Part2::row(v, at, r);
      each_meeting(r, [&](int j, int i, int s, int tap) { sum[j][i] += v[s] * taps[tap]; });
    }
  }

  const int w0 = part.column + own.column;
  if (!there || w0 >= to.W) return;
#pragma unroll
  for (int j = 0; j < ROWS; j++) {
    const int h = part.row + own.row + j;
    if (h >= to.H) continue;
    element *row = out + n * to.n + c * to.c + h * to.h + w0 * to.w;
    if (finite) {
      element values[COLUMNS];
#pragma unroll
      for (int i = 0; i < COLUMNS; i++) store(values + i, finished(sum[j][i]));
      store_row(row, to.w, values, to.W - w0);
    } else {
#pragma unroll 1
      for (int i = 0; i < COLUMNS && w0 + i < to.W; i++)
        store(row + i * to.w, finished(bias + exact(n, c, h, w0 + i)));
    }
  }
}
