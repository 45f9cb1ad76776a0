// dgrad_3_igemm.cu — step 3 of the input's gradient, which is also transposed convolution: an
// implicit GEMM for each phase of the stride. What dgrad_1_direct.cu gathers, as conv_3_igemm.cu does.
//
// Elements of dx that lie stride apart are of one phase: the same taps fit them, every step-th of an
// axis, and from one to the next the output o goes on by 1, from tap to tap back by dilation / gcd.
// So a phase is a dense problem of its own, a convolution of dy with stride 1 by those taps alone:
// no zeros of the stride are multiplied, and nothing is added atomically. Rows m are the elements of
// a phase, of all images; columns n input channels of a group; the depth runs over the group's
// output channels and the phase's taps. A phase that no tap fits has depth 0: the bias, or 0.
//
// Blocks of one launch, phases first, so that those that read the same dy and write neighbouring
// elements of dx run together; a block that its phase has no rows for ends at once.
//
// Predicted, for DCGAN's 4x4 stride 2, 256 to 128 channels at 16x16 to 32x32, N=256, float, on an
// H200: four phases of 4 taps, 69 GFLOP (of 275 with the stride's zeros) in 1.03 ms at best; dy (67
// MB) and dx (134 MB) go once through DRAM: 0.05 ms, so arithmetic binds. Registers, shared memory
// and blocks as conv_3_igemm.cu's 128x64 tile (in channels_last its 128x128): 16 warps of 64.
// Measured: not yet on a GPU.
// Still slow: as conv_3; w's rows are input channels, so its loads are never vectors, and with w in
// NCHW but dy in channels_last they lie apart; a phase writes every stride-th element of a row of
// dx, and it is L2 that joins them.
//
// Macros: those of gemm_tile.cuh; X_LAST, Y_LAST, W_LAST: the channel is the dense axis of dx, dy, w.
#include "geometry.cuh"
#include "gemm_tile.cuh"

#ifndef X_LAST
#define X_LAST 0
#define Y_LAST 0
#define W_LAST 0
#endif

struct Phases {
  int step_d, step_h, step_w;  // taps from one that fits to the next
  int back_d, back_h, back_w;  // outputs that this goes back by
};

// One phase along one axis.
struct Phase {
  int first, count;  // its elements of dx: first, first + stride, …
  int tap, taps;     // its taps: tap, tap + step, …
  int o;             // where the first tap finds the first element in dy; may lie outside
};

__device__ __forceinline__ Phase phase_of(int residue, int I, int K, int stride, int padding,
                                          int dilation, int step) {
  const int first = ((residue - padding) % stride + stride) % stride, at = first + padding;
  int tap = 0;
  while (tap < step && tap < K && (at - tap * dilation) % stride != 0) tap++;
  const bool fits = tap < step && tap < K;
  return {first, first < I ? (I - 1 - first) / stride + 1 : 0,
          tap, fits ? (K - 1 - tap) / step + 1 : 0, (at - tap * dilation) / stride};
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
conv_dgrad_igemm(element *x, const element *y, const element *w, const element *b,
                 const int quads_y, const Phases p, const ConvGeometry g) {
  __shared__ Tiles tiles;
  __shared__ offset pixels[TILE_M];  // where each row begins in dx; −1: there is no such row
  const int C = g.C / g.groups, K = g.K / g.groups;
  const int parts = (C - 1) / TILE_N + 1;  // of a group's input channels; neighbours share dy
  unsigned at = blockIdx.x;
  const int residue_w = at % g.stride_w, residue_h = (at /= g.stride_w) % g.stride_h;
  const int residue_d = (at /= g.stride_h) % g.stride_d;
  const int part = (at /= g.stride_d) % parts, group = (at /= parts) % g.groups;
  const int64 tile = at / g.groups;
  const int c0 = part * TILE_N, count = min(TILE_N, C - c0);
  const Phase d = phase_of(residue_d, g.ID, g.KD, g.stride_d, g.padding_d, g.dilation_d, p.step_d);
  const Phase h = phase_of(residue_h, g.IH, g.KH, g.stride_h, g.padding_h, g.dilation_h, p.step_h);
  const Phase v = phase_of(residue_w, g.IW, g.KW, g.stride_w, g.padding_w, g.dilation_w, p.step_w);
  const unsigned positions = d.count * h.count * v.count;
  const int64 rows = static_cast<int64>(g.N) * positions;
  if (tile * TILE_M >= rows) return;

  using Y = Gathered<Y_LAST>;
  using W = Dense<!W_LAST>;
  const int64 pixel = tile * TILE_M + Y::row();
  const bool there = pixel < rows;
  const int n = pixel / positions;
  const unsigned i = pixel % positions;
  const int jw = i % v.count, jh = i / v.count % h.count, jd = i / v.count / h.count;
  if (Y::step(0) == 0)
    pixels[Y::row()] = there ? n * g.x_n + (d.first + jd * g.stride_d) * g.x_d +
                                   (h.first + jh * g.stride_h) * g.x_h +
                                   (v.first + jw * g.stride_w) * g.x_w
                             : -1;
  const int od = d.o + jd, oh = h.o + jh, ow = v.o + jw;
  const element *from = y + n * g.y_n + group * K * g.y_k + od * g.y_d + oh * g.y_h + ow * g.y_w;
  const Y gathered{g.OD, g.OH, g.OW, quads_y != 0, there, {from, od, oh, ow}};
  const W dense{w + group * K * g.w_k + (c0 + W::row()) * g.w_c, false, W::row() < count};

  const int taps = d.taps * h.taps * v.taps;
  accumulator sum[SUMS_M][SUMS_N] = {};
  accumulate(sum, tiles, gathered, dense, 0, K * taps, [&](int k) -> Link {
    if (taps == 0) return {};
    const int oc = Y_LAST ? k % K : k / taps, tap = Y_LAST ? k / K : k % taps;
    const int tw = tap % v.taps, th = tap / v.taps % h.taps, td = tap / v.taps / h.taps;
    const int back_d = td * p.back_d, back_h = th * p.back_h, back_w = tw * p.back_w;
    return {oc * g.y_k - back_d * g.y_d - back_h * g.y_h - back_w * g.y_w,
            oc * g.w_k + (d.tap + td * p.step_d) * g.w_d + (h.tap + th * p.step_h) * g.w_h +
                (v.tap + tw * p.step_w) * g.w_w,
            -back_d, -back_h, -back_w};
  });

  write_tile<!X_LAST>(sum, tiles, [&](int m, int j, accumulator value) {
    if (j >= count || pixels[m] < 0) return;
    const int c = group * C + c0 + j;
    if (b) value += load(b + c * g.b_k);
    store(x + pixels[m] + c * g.x_c, value);
  });
}
