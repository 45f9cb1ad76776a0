// gather_1_direct.cu — y[p, s] = x[p, index[p, s]], or 0 from nowhere (-1): one thread an element.
//
// A plane p is an (n, c); threads are dealt out in the order of y in memory. Positions of max pooling
// grow with s, so that a warp's loads from x are near one another.
//
// Predicted, 64@56 from 64@112 in float, N = 256: index (8 bytes) and y (4) once, and most lines of x:
// 1.44 GB, 335 us at 4.3 TB/s; two loads in a row, four divisions.
// Full occupancy. Measured: not yet on a GPU.
// Still slow: positions are 64 bits, twice a float.
#include "index.cuh"

extern "C" __global__ void __launch_bounds__(256, 6)
gather_direct(element *y, const element *x, const int64 *index, const IndexGeometry g) {
  const Place p = place_of(this_thread(), g.C, 1, 1, g.small);
  if (p.n >= g.N) return;
  const int64 i = index[p.n * g.index_n + p.c * g.index_c + p.w * g.index_s];
  y[p.n * g.small_n + p.c * g.small_c + p.w * g.small_s] =
      i < 0 ? element{} : x[p.n * g.large_n + p.c * g.large_c + static_cast<offset>(i) * g.large_s];
}
