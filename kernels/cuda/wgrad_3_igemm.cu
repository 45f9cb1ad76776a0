// wgrad_3_igemm.cu — step 3 of the weight's gradient: implicit GEMM, with the depth split among
// blocks (split-K) and their sums added up by a second kernel, in a fixed order.
//
// Of the product, rows m are the weights of one output channel (an input channel of the group and a
// tap), columns n output channels, and the depth runs over every position of y, of all images: it is
// long, and the product small. ResNet-50's 3x3 of 64 channels has 576 x 64 sums, five tiles, of
// 802816 steps each. So the depth is cut into as many parts as fill the GPU; a block writes its sums
// into a workspace, partial[part][oc][row], and conv_wgrad_igemm_sum adds the parts, first to last.
// Nothing is added atomically: with the same number of parts, the same bits every time. With one
// part only, sums go straight to dw.
//
// Here x is gathered at place (tap) + link (position), and dy is the matrix; see gemm_tile.cuh. x in
// NCHW is fetched along positions, in channels_last along channels; so is dy, in NCHW in vectors of
// four where planes have a multiple of four positions. A tap outside x is skipped: its zero meets no
// infinite dy (outside.cuh).
//
// Predicted, for that layer at 56x56, N=256, float, on an H200: 59 GFLOP in 0.88 ms at best; x and dy
// (206 MB each) come through DRAM about once, 0.1 ms, x from L2 nine times. 105 parts of 5 tiles of
// 128x64: 525 blocks of 4 warps, four a multiprocessor, 16 warps of 64; the workspace, 15 MB, stays
// in L2.
// Measured: not yet on a GPU.
// Still slow: float's own units; x is loaded element by element; the second launch.
//
// Macros: those of gemm_tile.cuh; X_LAST, Y_LAST: the channel is the dense axis of x, of dy.
#include "geometry.cuh"
#include "gemm_tile.cuh"

#ifndef X_LAST
#define X_LAST 0
#define Y_LAST 0
#endif

// A row of the product: an input channel of the group, and a tap.
struct Row {
  int ic, kd, kh, kw;
};

__device__ __forceinline__ Row row_at(int m, const ConvGeometry &g) {
  const int C = g.C / g.groups, taps = g.KD * g.KH * g.KW;
  const int ic = X_LAST ? m % C : m / taps, tap = X_LAST ? m / C : m % taps;
  return {ic, tap / g.KW / g.KH, tap / g.KW % g.KH, tap % g.KW};
}

__device__ __forceinline__ offset in_w(const Row &r, const ConvGeometry &g) {
  return r.ic * g.w_c + r.kd * g.w_d + r.kh * g.w_h + r.kw * g.w_w;
}

// `partial` is null if there is one part; else sums go there, not to w. A part has `steps` positions.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
conv_wgrad_igemm(element *w, accumulator *partial, const element *y, const element *x,
                 const int steps, const int quads_y, const ConvGeometry g) {
  __shared__ Tiles tiles;
  __shared__ offset places[TILE_M];  // of each row in w; −1: there is no such row
  const int C = g.C / g.groups, K = g.K / g.groups, rows = C * g.KD * g.KH * g.KW;
  const int tiles_m = (rows - 1) / TILE_M + 1, tiles_n = (K - 1) / TILE_N + 1;
  unsigned at = blockIdx.x;
  const int m0 = at % tiles_m * TILE_M, n0 = (at /= tiles_m) % tiles_n * TILE_N;
  const int group = (at /= tiles_n) % g.groups, part = at / g.groups;
  const int oc0 = group * K + n0, count = min(TILE_N, K - n0);

  using X = Gathered<!X_LAST>;
  using Y = Dense<!Y_LAST>;
  const Row r = row_at(m0 + X::row(), g);
  const bool there = m0 + X::row() < rows;
  if (X::step(0) == 0) places[X::row()] = there ? in_w(r, g) : -1;
  const int id = r.kd * g.dilation_d - g.padding_d;
  const int ih = r.kh * g.dilation_h - g.padding_h;
  const int iw = r.kw * g.dilation_w - g.padding_w;
  const element *from = x + (group * C + r.ic) * g.x_c + id * g.x_d + ih * g.x_h + iw * g.x_w;
  const X gathered{g.ID, g.IH, g.IW, false, there, {from, id, ih, iw}};
  const Y dense{y + (oc0 + Y::row()) * g.y_k, quads_y != 0, Y::row() < count};

  const unsigned positions = g.OD * g.OH * g.OW;
  const int64 every = static_cast<int64>(g.N) * positions, first = static_cast<int64>(part) * steps;
  const int last = min(first + steps, every);
  accumulator sum[SUMS_M][SUMS_N] = {};
  accumulate(sum, tiles, gathered, dense, static_cast<int>(first), last, [&](int k) -> Link {
    const int n = k / positions;
    const unsigned o = k % positions;
    const int ow = o % g.OW, oh = o / g.OW % g.OH, od = o / g.OW / g.OH;
    const int d = od * g.stride_d, h = oh * g.stride_h, v = ow * g.stride_w;
    return {n * g.x_n + d * g.x_d + h * g.x_h + v * g.x_w,
            n * g.y_n + od * g.y_d + oh * g.y_h + ow * g.y_w, d, h, v};
  });

  accumulator *sums = partial + (static_cast<int64>(part) * g.K + oc0) * rows + m0;
  write_tile<true>(sum, tiles, [&](int m, int j, accumulator v) {
    if (j >= count || places[m] < 0) return;
    if (partial)
      sums[static_cast<int64>(j) * rows + m] = v;
    else
      store(w + places[m] + (oc0 + j) * g.w_k, v);
  });
}

// dw = the sum of the parts; one thread a weight, neighbouring threads neighbouring rows.
extern "C" __global__ void __launch_bounds__(256)
conv_wgrad_igemm_sum(element *w, const accumulator *partial, const int parts,
                     const ConvGeometry g) {
  const unsigned rows = g.C / g.groups * g.KD * g.KH * g.KW, weights = g.K * rows;
  const unsigned at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= weights) return;
  accumulator sum = 0;
#pragma unroll 4
  for (int part = 0; part < parts; part++) sum += partial[static_cast<int64>(part) * weights + at];
  store(w + at / rows * g.w_k + in_w(row_at(at % rows, g), g), sum);
}
