// conv_2_shared.cu — step 2: a block loads a tile of x into shared memory once, and uses it for
// every tap and for several output channels. 1-D and 2-D.
//
// A block owns TILE_H x TILE_W outputs of one image and CHANNELS output channels of one group; a
// thread owns one of these positions, in all the channels. For each input channel the block loads
// the part of x under its windows (row by row: neighbouring threads, neighbouring columns) and the
// weights of its channels, waits, and lets each thread walk over its taps: a value of the tile is
// read once for CHANNELS multiply-adds, and a weight is the same address for a whole warp.
// Outside x the tile is left as it was: no thread's taps reach there.
//
// Predicted: per tap a thread reads 1 value and CHANNELS weights (in vectors of 4: CHANNELS / 4
// instructions) from shared memory for CHANNELS multiply-adds: about five times the arithmetic of
// step 1 for each load. x comes from L2 K / CHANNELS times, enlarged by the halo, (KH - 1) rows.
// 256 threads, 2 KiB for 3x3 in float; at most 80 registers: 3 blocks of 8 warps, 24 of 64.
// Measured: not yet on a GPU.
// Still slow: one position a thread, so each weight is loaded for a single multiply-add; two
// barriers for each input channel, with nothing in flight meanwhile; in channels_last the tile's
// loads are C apart. Next: a register tile of positions.
//
// Macros: TILE_H, TILE_W, CHANNELS. Dynamic shared memory: the tile and the weights (shared_bytes in
// the plan function).
#include "geometry.cuh"

#ifndef TILE_H
#define TILE_H 8
#define TILE_W 32
#define CHANNELS 8
#endif

extern "C" __global__ void __launch_bounds__(TILE_H * TILE_W, 768 / (TILE_H * TILE_W))
conv_fprop_shared(element *y, const element *x, const element *w, const element *b,
                  const ConvGeometry g) {
  const int rows = (TILE_H - 1) * g.stride_h + (g.KH - 1) * g.dilation_h + 1;
  const int columns = (TILE_W - 1) * g.stride_w + (g.KW - 1) * g.dilation_w + 1;
  DYN_SHARED(accumulator, weights);                        // [KH * KW][CHANNELS]
  accumulator *tile = weights + g.KH * g.KW * CHANNELS;    // [rows][columns]

  const int C = g.C / g.groups, K = g.K / g.groups;
  const int parts = (K - 1) / CHANNELS + 1;  // of a group's output channels
  const int tiles_w = (g.OW - 1) / TILE_W + 1, tiles_h = (g.OH - 1) / TILE_H + 1;
  unsigned at = blockIdx.x;
  const int ow0 = at % tiles_w * TILE_W, oh0 = (at /= tiles_w) % tiles_h * TILE_H;
  const int part = (at /= tiles_h) % parts, group = (at /= parts) % g.groups;
  const int n = at / g.groups;
  const int oc0 = group * K + part * CHANNELS, count = min(CHANNELS, K - part * CHANNELS);

  const int oh = oh0 + threadIdx.y, ow = ow0 + threadIdx.x;
  const int top = oh0 * g.stride_h - g.padding_h, left = ow0 * g.stride_w - g.padding_w;
  const int ih = oh * g.stride_h - g.padding_h, iw = ow * g.stride_w - g.padding_w;
  const int kh0 = first_inside(ih, g.dilation_h), kh1 = last_inside(ih, g.dilation_h, g.IH, g.KH);
  const int kw0 = first_inside(iw, g.dilation_w), kw1 = last_inside(iw, g.dilation_w, g.IW, g.KW);

  accumulator sum[CHANNELS];
#pragma unroll
  for (int j = 0; j < CHANNELS; j++)
    sum[j] = b && j < count ? load(b + (oc0 + j) * g.b_k) : 0;

  for (int ic = 0; ic < C; ic++) {
    const element *plane = x + n * g.x_n + (group * C + ic) * g.x_c;
    for (int r = threadIdx.y; r < rows; r += TILE_H)
      for (int c = threadIdx.x; c < columns; c += TILE_W)
        if (top + r >= 0 && top + r < g.IH && left + c >= 0 && left + c < g.IW)
          tile[r * columns + c] = load(plane + (top + r) * g.x_h + (left + c) * g.x_w);
    for (int i = threadIdx.y * TILE_W + threadIdx.x; i < g.KH * g.KW * CHANNELS;
         i += TILE_H * TILE_W) {
      const int j = i % CHANNELS, kw = i / CHANNELS % g.KW, kh = i / CHANNELS / g.KW;
      const element *tap = w + (oc0 + j) * g.w_k + ic * g.w_c + kh * g.w_h + kw * g.w_w;
      weights[i] = j < count ? load(tap) : 0;
    }
    __syncthreads();  // the tile is whole
    for (int kh = kh0; kh < kh1; kh++)
#pragma unroll 1  // CHANNELS multiply-adds are enough for one turn
      for (int kw = kw0; kw < kw1; kw++) {
        const accumulator value = tile[(threadIdx.y * g.stride_h + kh * g.dilation_h) * columns +
                                       threadIdx.x * g.stride_w + kw * g.dilation_w];
        const accumulator *taps = weights + (kh * g.KW + kw) * CHANNELS;
#pragma unroll
        for (int j = 0; j < CHANNELS; j++) sum[j] += value * taps[j];
      }
    __syncthreads();  // and used up
  }

  if (oh >= g.OH || ow >= g.OW) return;
  element *out = y + n * g.y_n + oc0 * g.y_k + oh * g.y_h + ow * g.y_w;
#pragma unroll
  for (int j = 0; j < CHANNELS; j++)
    if (j < count) store(out + j * g.y_k, finished(sum[j]));
}
