// pool_2_vector.cu — step 2 of pooling, for ordinary windows in 1-D and 2-D, in NCHW: x is loaded
// once, through shared memory, and a thread computes a block of outputs. (channels_last:
// pool_2_vector_last.cu.)
//
// The window's numbers are macros, so which elements a thread's outputs share is known to the
// compiler: it reads each row of its part once, 16 bytes at a time, and gives it to all its output
// rows whose windows it is in. Loads from x are coalesced along rows, whatever their alignment;
// COLUMNS outputs are stored at once. Outside x the tile holds what does not count: -inf, or 0.
//
// Predicted, max 3x3 s2 64@112 in float, N = 256, values only: x read and y written once, 1.03 GB,
// 239 us at 4.3 TB/s. Block: 14 x 7 threads, 28 rows; halo 2 %. Instructions: for an output 9 taps
// of 3, 4 loads from shared memory and 5 of filling it; 0.9 outputs are due a cycle and
// multiprocessor, a fifth of what it issues. With positions y is three times as large: 335 us.
// 26 KiB of shared memory and 98 threads a block: 8 blocks, 25 of 64 warps; each thread has 4 loads
// in flight. Measured: not yet on a GPU.
// Still slow: a block loads, then computes; only other blocks fill the gap.
//
// Macros: those of slide.cuh and planes.cuh. Dynamic shared memory: the tile.
#include "planes.cuh"
#include "pool.cuh"
#include "slide.cuh"

using Part2 = Tile<STEP_H, STEP_W, SPAN_H, SPAN_W>;

// Loads the block's tile; `outside` is what does not count.
__device__ __forceinline__ void fill(accumulator *tile, int64 *planes, const element *x,
                                     const PoolGeometry &g, const Part &part, accumulator outside) {
  for (int i = threadIdx.x; i < PLANES; i += THREADS) {
    const unsigned plane = part.plane + i;
    const int n = plane / g.C, c = plane % g.C;
    planes[i] = n < g.N ? static_cast<int64>(n) * g.x_n + static_cast<int64>(c) * g.x_c : -1;
  }
  __syncthreads();  // where planes begin is known
  Part2::fill(tile, x, planes, top_of(part.row, g.h.padding), left_of(part.column, g.w.padding),
              g.h.in, g.w.in, g.x_h, g.x_w, outside);
  __syncthreads();  // the tile is whole
}

// Gives every value of the thread's windows to take(row, column, tap, value), in the order of taps.
template <class Take>
__device__ __forceinline__ void slide(const accumulator *tile, const Own &own, Take take) {
  const accumulator *at = Part2::at(tile, own);
#pragma unroll
  for (int r = 0; r < SPAN_H; r++) {
    accumulator v[Part2::WIDTH];
    Part2::row(v, at, r);
    each_meeting(r, [&](int j, int i, int s, int tap) { take(j, i, tap, v[s]); });
  }
}

// Gives every output row that the thread has to put(row, offset of its first output, how many, oh, ow).
template <class Put>
__device__ __forceinline__ void each_row(const PoolGeometry &g, const Part &part, const Own &own,
                                         Put put) {
  const unsigned plane = part.plane + own.plane;
  const int n = plane / g.C, c = plane % g.C, ow = part.column + own.column;
  if (n >= g.N || ow >= g.w.out) return;
#pragma unroll
  for (int j = 0; j < ROWS; j++) {
    const int oh = part.row + own.row + j;
    if (oh < g.h.out)
      put(j, n * g.y_n + c * g.y_c + oh * g.y_h + ow * g.y_w, g.w.out - ow, oh, ow);
  }
}

template <bool POSITIONS>
__device__ __forceinline__ void max_pool(element *y, int64 *index, const element *x,
                                         const PoolGeometry &g, accumulator *tile, int64 *planes) {
  const Part part = part_of_block(g.h.out, g.w.out);
  const Own own = own_outputs();
  fill(tile, planes, x, g, part, -infinity());
  accumulator best[ROWS][COLUMNS];
  int best_tap[ROWS][COLUMNS];
#pragma unroll
  for (int j = 0; j < ROWS; j++)
#pragma unroll
    for (int i = 0; i < COLUMNS; i++) best[j][i] = -infinity(), best_tap[j][i] = -1;
  slide(tile, own, [&](int j, int i, int tap, accumulator value) {
    if (value > best[j][i] || value != value) best[j][i] = value, best_tap[j][i] = tap;
  });
  each_row(g, part, own, [&](int j, offset to, int count, int oh, int ow) {
    element out[COLUMNS];
    int64 where[COLUMNS];
    const Window h = window_of(g.h, oh, false);
#pragma unroll
    for (int i = 0; i < COLUMNS; i++) {
      store(out + i, best[j][i]);
      // No tap was greater than -inf: the first one leads, if there is one.
      const Window w = window_of(g.w, ow + i, false);
      const int tap = best_tap[j][i];
      const bool none = h.start >= h.stop || w.start >= w.stop;
      const int ih = tap < 0 ? h.start : oh * STRIDE_H - g.h.padding + tap / TAPS_W * DILATION_H;
      const int iw = tap < 0 ? w.start : (ow + i) * STRIDE_W - g.w.padding + tap % TAPS_W * DILATION_W;
      where[i] = none ? -1 : ih * g.w.in + iw;
    }
    store_row(y + to, g.y_w, out, count);
    if (POSITIONS) store_row(index + to, g.y_w, where, count);
  });
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
max_pool_vector(element *y, int64 *index, const element *x, const PoolGeometry g) {
  DYN_SHARED(accumulator, tile);
  __shared__ int64 planes[PLANES];
  max_pool<true>(y, index, x, g, tile, planes);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
max_pool_values_vector(element *y, const element *x, const PoolGeometry g) {
  DYN_SHARED(accumulator, tile);
  __shared__ int64 planes[PLANES];
  max_pool<false>(y, nullptr, x, g, tile, planes);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
avg_pool_vector(element *y, const element *x, const PoolGeometry g) {
  DYN_SHARED(accumulator, tile);
  __shared__ int64 planes[PLANES];
  const Part part = part_of_block(g.h.out, g.w.out);
  const Own own = own_outputs();
  fill(tile, planes, x, g, part, 0);
  accumulator sum[ROWS][COLUMNS] = {};
  slide(tile, own, [&](int j, int i, int, accumulator value) { sum[j][i] += value; });
  each_row(g, part, own, [&](int j, offset to, int count, int oh, int ow) {
    element out[COLUMNS];
    const Window h = window_of(g.h, oh, false);
#pragma unroll
    for (int i = 0; i < COLUMNS; i++) {
      const Window w = window_of(g.w, ow + i, false);
      const bool any = h.start < h.stop && w.start < w.stop;  // else the divisor may be 0
      store(out + i, any ? sum[j][i] / divisor_of(g, 0, oh, ow + i) : 0);
    }
    store_row(y + to, g.y_w, out, count);
  });
}
