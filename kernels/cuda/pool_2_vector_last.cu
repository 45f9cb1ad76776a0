// pool_2_vector_last.cu — step 2 of pooling in channels_last: pool_2_vector.cu's idea with vectors of
// channels, which need no shared memory.
//
// A thread reads an element of its part of x once, VECTOR channels at a time, and gives it to all its
// outputs whose windows it is in; windows that reach into another thread's part are served by L1.
//
// Predicted, max 3x3 s2 64@112 in float, N = 256, values only: x read and y written once, 1.03 GB,
// 239 us at 4.3 TB/s, if what neighbours share stays in L1: a thread of 1 x 4 outputs loads 27
// vectors of 16 bytes for 4, 1.7 times x, and compares 36 taps. About 64 registers, 1024 threads a
// multiprocessor, each with 9 loads of 16 bytes in flight. Measured: not yet on a GPU.
// Still slow: parts of one row each share two thirds of what they load with the next.
//
// Macros: those of slide.cuh and channels.cuh.
#include "channels.cuh"
#include "pool.cuh"
#include "slide.cuh"

// Gives every value of the thread's windows to take(row, column, tap, values); where there is none,
// `outside`, or nothing.
template <class Take>
__device__ __forceinline__ void slide(const element *x, const PoolGeometry &g, const Part &p,
                                      accumulator outside, Take take) {
  const element *image = x + p.n * g.x_n + p.channel * g.x_c;
  const int top = top_of(p.row, g.h.padding), left = left_of(p.column, g.w.padding);
#pragma unroll
  for (int r = 0; r < SPAN_H; r++) {
    if (top + r < 0 || top + r >= g.h.in) continue;
    const element *row = image + (top + r) * g.x_h;
    accumulator v[SPAN_W][VECTOR];
#pragma unroll
    for (int s = 0; s < SPAN_W; s++) {
#pragma unroll
      for (int k = 0; k < VECTOR; k++) v[s][k] = outside;
      if (left + s >= 0 && left + s < g.w.in)
        load_vector(v[s], row + (left + s) * g.x_w, g.x_c, g.C - p.channel);
    }
    each_meeting(r, [&](int j, int i, int s, int tap) { take(j, i, tap, v[s]); });
  }
}

// Gives every output that the thread has to put(row, column, offset of its first channel, oh, ow).
template <class Put>
__device__ __forceinline__ void each(const PoolGeometry &g, const Part &p, Put put) {
#pragma unroll
  for (int j = 0; j < ROWS; j++)
#pragma unroll
    for (int i = 0; i < COLUMNS; i++) {
      const int oh = p.row + j, ow = p.column + i;
      if (oh < g.h.out && ow < g.w.out)
        put(j, i, p.n * g.y_n + p.channel * g.y_c + oh * g.y_h + ow * g.y_w, oh, ow);
    }
}

template <bool POSITIONS>
__device__ __forceinline__ void max_pool(element *y, int64 *index, const element *x,
                                         const PoolGeometry &g) {
  const Part p = part_of_thread(g.C, g.h.out, g.w.out);
  if (p.n >= g.N || p.channel >= g.C) return;
  accumulator best[ROWS][COLUMNS][VECTOR];
  int best_tap[ROWS][COLUMNS][VECTOR];
#pragma unroll
  for (int j = 0; j < ROWS; j++)
#pragma unroll
    for (int i = 0; i < COLUMNS; i++)
#pragma unroll
      for (int k = 0; k < VECTOR; k++) best[j][i][k] = -infinity(), best_tap[j][i][k] = -1;
  slide(x, g, p, -infinity(), [&](int j, int i, int tap, const accumulator (&v)[VECTOR]) {
#pragma unroll
    for (int k = 0; k < VECTOR; k++)
      if (v[k] > best[j][i][k] || v[k] != v[k]) best[j][i][k] = v[k], best_tap[j][i][k] = tap;
  });
  each(g, p, [&](int j, int i, offset to, int oh, int ow) {
    element out[VECTOR];
    int64 where[VECTOR];
    // No tap was greater than -inf: the first one leads, if there is one.
    const Window h = window_of(g.h, oh, false), w = window_of(g.w, ow, false);
    const bool none = h.start >= h.stop || w.start >= w.stop;
#pragma unroll
    for (int k = 0; k < VECTOR; k++) {
      store(out + k, best[j][i][k]);
      const int tap = best_tap[j][i][k];
      const int ih = tap < 0 ? h.start : oh * STRIDE_H - g.h.padding + tap / TAPS_W * DILATION_H;
      const int iw = tap < 0 ? w.start : ow * STRIDE_W - g.w.padding + tap % TAPS_W * DILATION_W;
      where[k] = none ? -1 : ih * g.w.in + iw;
    }
    Values<element>::store(y + to, g.y_c, out, g.C - p.channel);
    if (POSITIONS) Values<int64>::store(index + to, g.y_c, where, g.C - p.channel);
  });
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
max_pool_vector_last(element *y, int64 *index, const element *x, const PoolGeometry g) {
  max_pool<true>(y, index, x, g);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
max_pool_values_vector_last(element *y, const element *x, const PoolGeometry g) {
  max_pool<false>(y, nullptr, x, g);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
avg_pool_vector_last(element *y, const element *x, const PoolGeometry g) {
  const Part p = part_of_thread(g.C, g.h.out, g.w.out);
  if (p.n >= g.N || p.channel >= g.C) return;
  accumulator sum[ROWS][COLUMNS][VECTOR] = {};
  slide(x, g, p, 0, [&](int j, int i, int, const accumulator (&v)[VECTOR]) {
#pragma unroll
    for (int k = 0; k < VECTOR; k++) sum[j][i][k] += v[k];
  });
  each(g, p, [&](int j, int i, offset to, int oh, int ow) {
    element out[VECTOR];
    const Window h = window_of(g.h, oh, false), w = window_of(g.w, ow, false);
    const bool any = h.start < h.stop && w.start < w.stop;  // else the divisor may be 0
    const accumulator divisor = divisor_of(g, 0, oh, ow);
#pragma unroll
    for (int k = 0; k < VECTOR; k++) store(out + k, any ? sum[j][i][k] / divisor : 0);
    Values<element>::store(y + to, g.y_c, out, g.C - p.channel);
  });
}
