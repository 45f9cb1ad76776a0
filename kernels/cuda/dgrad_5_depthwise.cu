// dgrad_5_depthwise.cu — the input's gradient of a depthwise convolution, which is also depthwise
// transposed convolution, 1-D and 2-D, in NCHW: conv_5_depthwise.cu turned round. (channels_last:
// dgrad_5_depthwise_last.cu.)
//
// A tile of dy is loaded, and a thread owns 4 x ROWS elements of dx. With a stride only every other
// tap meets an element; a thread's elements begin at a multiple of the stride, so which one is known
// to the compiler, and no lane computes what another skips. Strides are 1, 2 or 4.
//
// Predicted, 3x3 s1 C256@56 in float, N = 256: as conv_5_depthwise.cu, dy read and dx written
// once, 382 us; with s2 dy is a quarter of dx, 239 us, and 2.25 multiply-adds an element. 93
// registers: 3 blocks of 7 warps, 21 of 64.
// Measured: not yet on a GPU.
// Still slow: as conv_5_depthwise.cu; a channel multiplier takes one tile for each channel of dy, with
// barriers between.
//
// Macros: those of unslide.cuh and planes.cuh. Dynamic shared memory: the tile.
#include "planes.cuh"
#include "unslide.cuh"

#include "depthwise.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv_dgrad_depthwise(element *x, const element *y, const element *w, const element *b,
                     const ConvGeometry g) {
  DYN_SHARED(accumulator, tile);
  __shared__ int64 planes[PLANES];
  const auto exact = [&](int n, int c, int ih, int iw) {
    const int M = g.K / g.C;
    accumulator sum = 0;
#pragma unroll 1
    for (int i = 0; i < M * TAPS_H * TAPS_W; i++) {
      const int kw = i % TAPS_W, kh = i / TAPS_W % TAPS_H, oc = c * M + i / (TAPS_H * TAPS_W);
      const int h = ih + g.padding_h - kh * DILATION_H, v = iw + g.padding_w - kw * DILATION_W;
      if (h < 0 || v < 0 || h % STRIDE_H != 0 || v % STRIDE_W != 0) continue;
      const int oh = h / STRIDE_H, ow = v / STRIDE_W;
      if (oh < g.OH && ow < g.OW)
        sum += load(y + n * g.y_n + oc * g.y_k + oh * g.y_h + ow * g.y_w) *
               load(w + oc * g.w_k + kh * g.w_h + kw * g.w_w);
    }
    return sum;
  };
  depthwise<true>(x, side_x(g), y, side_y(g), w, b, g, tile, planes, exact);
}
