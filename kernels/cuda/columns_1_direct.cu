// columns_1_direct.cu — unfold: one thread copies one element of a column, or writes 0 outside the
// input. (fold, which sums, is fold_1_direct.cu.)
//
// Columns are (N, C, KH, KW, OH, OW): neighbouring threads are neighbouring ow, so a warp writes
// neighbours, and with stride 1 reads neighbours. Elements are moved as bits (bits.cuh).
//
// Predicted, 64@56 3x3 p1 in float, N = 256: x comes from DRAM once and columns, 9 times as large,
// are written once: 2.06 GB, 478 us at 4.3 TB/s; one load a thread, the taps' overlap served by L1
// and L2; five divisions an element. Full occupancy. Measured: not yet on a GPU.
// Still slow: the same row of x is read KH * KW times by other threads; 4 bytes a store.
#include "bits.cuh"

struct ColumnGeometry {
  int N, C, IH, IW, KH, KW, OH, OW;
  int stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;
  offset x_n, x_c, x_h, x_w;
  offset col_n, col_c, col_kh, col_kw, col_oh, col_ow;
};

extern "C" __global__ void __launch_bounds__(256, 6)
unfold_direct(bits *col, const bits *x, const ColumnGeometry g) {
  unsigned_offset at = this_thread();
  const int ow = at % g.OW, oh = (at /= g.OW) % g.OH;
  const int kw = (at /= g.OH) % g.KW, kh = (at /= g.KW) % g.KH;
  const int c = (at /= g.KH) % g.C;
  const int n = at / g.C;
  if (n >= g.N) return;
  const int ih = oh * g.stride_h - g.padding_h + kh * g.dilation_h;
  const int iw = ow * g.stride_w - g.padding_w + kw * g.dilation_w;
  const bool inside = ih >= 0 && ih < g.IH && iw >= 0 && iw < g.IW;
  col[n * g.col_n + c * g.col_c + kh * g.col_kh + kw * g.col_kw + oh * g.col_oh + ow * g.col_ow] =
      inside ? x[n * g.x_n + c * g.x_c + ih * g.x_h + iw * g.x_w] : bits{};
}
