// pool_1_windows.cu — step 1 of pooling: one thread walks over one window. Max (with positions or
// without), average, adaptive or not, and the average's gradient; any rank, any layout.
//
// A thread computes where its window starts and stops, one axis at a time, and reads its taps in the
// order D, H, W: a later tap wins only if it is greater, or NaN, so the first of equals and the last
// NaN win. Threads are dealt out in the order of the output in memory (CHANNELS_LAST says which), so
// a warp writes neighbours and, with small strides, reads neighbours.
// The average's gradient gathers: a thread owns one element of dx, and adds up dy / divisor over the
// windows that hold it, in their order. No atomics, so the same bits every time.
//
// Predicted, max 3x3 s2 64@112 in float, N = 256: DRAM traffic is x once and y once (the overlap is
// served by L1 and L2), 1.03 GB: 239 us at 4.3 TB/s; but 9 loads for an output, each of which a warp
// spreads over two lines, and index arithmetic with five divisions: bound by instructions, about
// twice that. Full occupancy. Measured: not yet on a GPU.
// Still slow: taps that windows share are loaded again for each; one load in flight at a time.
// Next: pool_2_vector.cu.
#include "places.cuh"
#include "pool.cuh"

template <bool POSITIONS>
__device__ __forceinline__ void max_pool(element *y, int64 *index, const element *x,
                                         const PoolGeometry &g) {
  const Place p = place_of(this_thread(), g.C, g.d.out, g.h.out, g.w.out);
  if (p.n >= g.N) return;
  const Window d = window_of(g.d, p.d, g.adaptive), h = window_of(g.h, p.h, g.adaptive);
  const Window w = window_of(g.w, p.w, g.adaptive);
  const element *plane = x + p.n * g.x_n + p.c * g.x_c;
  accumulator best = -infinity();
  int best_at = -1;
  for (int id = d.start; id < d.stop; id += g.d.dilation)
    for (int ih = h.start; ih < h.stop; ih += g.h.dilation) {
      const element *row = plane + id * g.x_d + ih * g.x_h;
      const int row_at = (id * g.h.in + ih) * g.w.in;
#pragma unroll 1
      for (int iw = w.start; iw < w.stop; iw += g.w.dilation) {
        const accumulator value = load(row + iw * g.x_w);
        // The first tap always leads, so that a window of -inf has a winner too.
        if (best_at < 0 || value > best || value != value) best = value, best_at = row_at + iw;
      }
    }
  const offset to = p.n * g.y_n + p.c * g.y_c + p.d * g.y_d + p.h * g.y_h + p.w * g.y_w;
  store(y + to, best);
  if (POSITIONS) index[to] = best_at;
}

extern "C" __global__ void __launch_bounds__(256, 4)
max_pool_windows(element *y, int64 *index, const element *x, const PoolGeometry g) {
  max_pool<true>(y, index, x, g);
}

extern "C" __global__ void __launch_bounds__(256, 4)
max_pool_values_windows(element *y, const element *x, const PoolGeometry g) {
  max_pool<false>(y, nullptr, x, g);
}

extern "C" __global__ void __launch_bounds__(256, 4)
avg_pool_windows(element *y, const element *x, const PoolGeometry g) {
  const Place p = place_of(this_thread(), g.C, g.d.out, g.h.out, g.w.out);
  if (p.n >= g.N) return;
  const Window d = window_of(g.d, p.d, g.adaptive), h = window_of(g.h, p.h, g.adaptive);
  const Window w = window_of(g.w, p.w, g.adaptive);
  const element *plane = x + p.n * g.x_n + p.c * g.x_c;
  accumulator sum = 0;
  for (int id = d.start; id < d.stop; id++)
    for (int ih = h.start; ih < h.stop; ih++)
#pragma unroll 1
      for (int iw = w.start; iw < w.stop; iw++)
        sum += load(plane + id * g.x_d + ih * g.x_h + iw * g.x_w);
  const bool any = d.start < d.stop && h.start < h.stop && w.start < w.stop;
  store(y + p.n * g.y_n + p.c * g.y_c + p.d * g.y_d + p.h * g.y_h + p.w * g.y_w,
        any ? sum / divisor_of(g, p.d, p.h, p.w) : 0);
}

extern "C" __global__ void __launch_bounds__(256, 3)
avg_pool_backward_windows(element *x, const element *y, const PoolGeometry g) {
  const Place p = place_of(this_thread(), g.C, g.d.in, g.h.in, g.w.in);
  if (p.n >= g.N) return;
  const Window d = holders_of(g.d, p.d, g.adaptive), h = holders_of(g.h, p.h, g.adaptive);
  const Window w = holders_of(g.w, p.w, g.adaptive);
  const element *plane = y + p.n * g.y_n + p.c * g.y_c;
  accumulator sum = 0;
  for (int od = d.start; od < d.stop; od++)
    for (int oh = h.start; oh < h.stop; oh++)
#pragma unroll 1
      for (int ow = w.start; ow < w.stop; ow++)
        sum += load(plane + od * g.y_d + oh * g.y_h + ow * g.y_w) / divisor_of(g, od, oh, ow);
  store(x + p.n * g.x_n + p.c * g.x_c + p.d * g.x_d + p.h * g.x_h + p.w * g.x_w, sum);
}
