// depthwise_last.cuh — depthwise convolution in channels_last, forwards (with slide.cuh) and back
// (unslide.cuh), one output channel an input channel. See conv_5_depthwise_last.cu.
#pragma once
#include "channels.cuh"
#include "geometry.cuh"

struct Side {
  int H, W;
  offset n, c, h, w;
};

__device__ __forceinline__ Side side_x(const ConvGeometry &g) {
  return {g.IH, g.IW, g.x_n, g.x_c, g.x_h, g.x_w};
}
__device__ __forceinline__ Side side_y(const ConvGeometry &g) {
  return {g.OH, g.OW, g.y_n, g.y_k, g.y_h, g.y_w};
}

constexpr int BLOCK_C = THREADS_C * VECTOR;  // channels of a block

// Computes the thread's part of `out` from `in`; `weights` is shared memory for [TAPS_H * TAPS_W][BLOCK_C].
__device__ __forceinline__ void depthwise(element *out, const Side &to, const element *in,
                                          const Side &from, const element *w, const element *b,
                                          const ConvGeometry &g, accumulator *weights) {
  struct alignas(VECTOR * sizeof(accumulator)) Taps { accumulator v[VECTOR]; };
  const Part p = part_of_thread(g.C, to.H, to.W);
  const int lane = threadIdx.x % THREADS_C * VECTOR, first = p.channel - lane;
  for (int i = threadIdx.x; i < TAPS_H * TAPS_W * BLOCK_C; i += THREADS) {
    const int k = i % (TAPS_H * TAPS_W), c = i / (TAPS_H * TAPS_W);
    weights[k * BLOCK_C + c] =
        first + c < g.C ? load(w + (first + c) * g.w_k + k / TAPS_W * g.w_h + k % TAPS_W * g.w_w) : 0;
  }
  __syncthreads();  // weights are there
  const int count = g.C - p.channel;
  if (p.n >= g.N || count <= 0) return;

  accumulator sum[ROWS][COLUMNS][VECTOR];
#pragma unroll
  for (int k = 0; k < VECTOR; k++) {
    const accumulator bias = b && k < count ? load(b + (p.channel + k) * g.b_k) : 0;
#pragma unroll
    for (int j = 0; j < ROWS; j++)
#pragma unroll
      for (int i = 0; i < COLUMNS; i++) sum[j][i][k] = bias;
  }

  const element *image = in + p.n * from.n + p.channel * from.c;
  const int top = top_of(p.row, g.padding_h), left = left_of(p.column, g.padding_w);
#pragma unroll
  for (int r = 0; r < SPAN_H; r++) {
    if (top + r < 0 || top + r >= from.H) continue;
    const element *row = image + (top + r) * from.h;
    accumulator v[SPAN_W][VECTOR];
#pragma unroll
    for (int s = 0; s < SPAN_W; s++)
      if (left + s >= 0 && left + s < from.W)
        load_vector(v[s], row + (left + s) * from.w, from.c, count);
#pragma unroll
    for (int j = 0; j < ROWS; j++) {
      const int kh = tap_h(r, j);
      if (kh < 0) continue;
#pragma unroll
      for (int s = 0; s < SPAN_W; s++) {
        if (left + s < 0 || left + s >= from.W) continue;  // a 0 times an infinite weight is NaN
#pragma unroll
        for (int i = 0; i < COLUMNS; i++) {
          const int kw = tap_w(s, i);
          if (kw < 0) continue;
          const Taps taps =
              *reinterpret_cast<const Taps *>(weights + (kh * TAPS_W + kw) * BLOCK_C + lane);
#pragma unroll
          for (int k = 0; k < VECTOR; k++) sum[j][i][k] += v[s][k] * taps.v[k];
        }
      }
    }
  }

#pragma unroll
  for (int j = 0; j < ROWS; j++)
#pragma unroll
    for (int i = 0; i < COLUMNS; i++) {
      const int h = p.row + j, at = p.column + i;
      if (h >= to.H || at >= to.W) continue;
      element values[VECTOR];
#pragma unroll
      for (int k = 0; k < VECTOR; k++) store(values + k, finished(sum[j][i][k]));
      Values<element>::store(out + p.n * to.n + p.channel * to.c + h * to.h + at * to.w, to.c,
                             values, count);
    }
}
