// fold_1_direct.cu — fold, the transpose of columns_1_direct.cu's unfold: one thread sums one element
// of the image, by gathering.
//
// An element i gets every column element (k, o) with o * stride - padding + k * dilation == i, in the
// order of k: no atomics, always the same bits. Of the taps only those are looked at that fit the
// phase of i + padding.
//
// Predicted, 64@56 3x3 p1 in float, N = 256: columns are read once and x written once: 2.06 GB,
// 478 us at 4.3 TB/s; 9 loads and additions a thread, coalesced with stride 1. Full occupancy.
// Measured: not yet on a GPU.
// Still slow: one load in flight at a time; a division for every tap that is looked at.
#include "places.cuh"

struct ColumnGeometry {
  int N, C, IH, IW, KH, KW, OH, OW;
  int stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;
  offset x_n, x_c, x_h, x_w;
  offset col_n, col_c, col_kh, col_kw, col_oh, col_ow;
};

extern "C" __global__ void __launch_bounds__(256, 4)
fold_direct(element *x, const element *col, const ColumnGeometry g) {
  const Place p = place_of(this_thread(), g.C, 1, g.IH, g.IW);
  if (p.n >= g.N) return;
  const element *plane = col + p.n * g.col_n + p.c * g.col_c;
  accumulator sum = 0;
  for (int kh = 0; kh < g.KH; kh++) {
    const int h = p.h + g.padding_h - kh * g.dilation_h;  // oh * stride_h, if any window fits
    if (h < 0 || h % g.stride_h != 0 || h / g.stride_h >= g.OH) continue;
    const element *row = plane + kh * g.col_kh + h / g.stride_h * g.col_oh;
#pragma unroll 1
    for (int kw = 0; kw < g.KW; kw++) {
      const int w = p.w + g.padding_w - kw * g.dilation_w;
      if (w < 0 || w % g.stride_w != 0 || w / g.stride_w >= g.OW) continue;
      sum += load(row + kw * g.col_kw + w / g.stride_w * g.col_ow);
    }
  }
  store(x + p.n * g.x_n + p.c * g.x_c + p.h * g.x_h + p.w * g.x_w, sum);
}
