// conv_3_igemm.cu — step 3: implicit GEMM. A convolution is one product of matrices, of which a
// thread holds a tile of sums in registers: each value read is used for 8 (or 4) multiply-adds.
//
// Rows m are pixels of y, of all images one after another; columns n are output channels of a group;
// the depth k runs over its input channels and the taps. The matrix of x's windows (im2col) is never
// made: each element is fetched from x by its row's place and its step's link (gemm_tile.cuh, which
// is to be read with this: the main loop is there). w is a matrix as it is. The order of k is that of
// memory: channel outermost in NCHW, innermost in channels_last, where x is loaded in vectors of
// four; w is, wherever its taps lie in the order of k.
//
// A block of 256 threads has 128x128 sums, 8x8 a thread; small problems have smaller tiles, so that
// there are blocks enough. Taps outside x are zeros (outside.cuh). The epilogue adds the bias and
// may clamp at zero (RELU, types.cuh), which saves a pass over y. y is written through shared
// memory: along pixels in NCHW, along channels in channels_last, always coalesced.
//
// Predicted, for ResNet-50's 3x3 64 to 64 channels at 56x56, N=256, float, on an H200 (128x64 tiles,
// 128 threads): 59 GFLOP in 0.88 ms at best; x comes 9 times from L1 and L2, once from DRAM (206
// MB), y goes once (206 MB): 0.1 ms, so arithmetic binds. Per step 4 vector loads from shared memory
// for 64 multiply-adds; beside them one turn of 8 steps has about 100 other instructions in 512.
// At most 128 registers: 4 blocks of 4 warps, 16 of 64; 15 KiB of shared memory each.
// Measured: not yet on a GPU.
// Still slow: float's own units, where tensor cores have many times their rate; NCHW's x is loaded
// element by element; depth is taken 8 at a time, so few channels of a group (3, or 1) fill little.
//
// Macros: those of gemm_tile.cuh; X_LAST, Y_LAST: the channel is the dense axis of x, of y.
#include "geometry.cuh"
#include "gemm_tile.cuh"

#ifndef X_LAST
#define X_LAST 0
#define Y_LAST 0
#endif

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
conv_fprop_igemm(element *y, const element *x, const element *w, const element *b, const int quads_x,
                 const int quads_w, const ConvGeometry g) {
  __shared__ Tiles tiles;
  __shared__ offset pixels[TILE_M];  // where each row begins in y; −1: there is no such row
  const int C = g.C / g.groups, K = g.K / g.groups;
  const int parts = (K - 1) / TILE_N + 1;  // of a group's output channels; neighbours share x
  unsigned at = blockIdx.x;
  const int part = at % parts, group = (at /= parts) % g.groups;
  const int64 tile = at / g.groups;
  const int oc0 = group * K + part * TILE_N, count = min(TILE_N, K - part * TILE_N);

  using X = Gathered<X_LAST>;
  using W = Dense<true>;
  const unsigned positions = g.OD * g.OH * g.OW;
  const int64 pixel = tile * TILE_M + X::row();
  const bool there = pixel < static_cast<int64>(g.N) * positions;
  const int n = pixel / positions;
  const unsigned o = pixel % positions;
  const int ow = o % g.OW, oh = o / g.OW % g.OH, od = o / g.OW / g.OH;
  if (X::step(0) == 0)
    pixels[X::row()] = there ? n * g.y_n + od * g.y_d + oh * g.y_h + ow * g.y_w : -1;
  const int id = od * g.stride_d - g.padding_d;
  const int ih = oh * g.stride_h - g.padding_h;
  const int iw = ow * g.stride_w - g.padding_w;
  const element *from = x + n * g.x_n + group * C * g.x_c + id * g.x_d + ih * g.x_h + iw * g.x_w;
  const X gathered{g.ID, g.IH, g.IW, quads_x != 0, there, {from, id, ih, iw}};
  const W dense{w + (oc0 + W::row()) * g.w_k, quads_w != 0, W::row() < count};

  accumulator sum[SUMS_M][SUMS_N] = {};
  accumulate(sum, tiles, gathered, dense, 0, C * g.KD * g.KH * g.KW, [&](int k) -> Link {
    const int taps = g.KD * g.KH * g.KW;
    const int ic = X_LAST ? k % C : k / taps, tap = X_LAST ? k / C : k % taps;
    const int kw = tap % g.KW, kh = tap / g.KW % g.KH, kd = tap / g.KW / g.KH;
    const int d = kd * g.dilation_d, h = kh * g.dilation_h, v = kw * g.dilation_w;
    return {ic * g.x_c + d * g.x_d + h * g.x_h + v * g.x_w,
            ic * g.w_c + kd * g.w_d + kh * g.w_h + kw * g.w_w, d, h, v};
  });

  write_tile<!Y_LAST>(sum, tiles, [&](int m, int j, accumulator v) {
    if (j >= count || pixels[m] < 0) return;
    if (b) v += load(b + (oc0 + j) * g.b_k);
    store(y + pixels[m] + (oc0 + j) * g.y_k, finished(v));
  });
}
