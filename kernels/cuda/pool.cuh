// pool.cuh — a pooling as kernels see it, passed by value; and its windows, computed from an output's
// position, so that no table of them is uploaded.
//
// Always three spatial axes, D H W; 1-D and 2-D have leading ones. Strides are in elements; those of
// max pooling's positions are y's.
#pragma once
#include "types.cuh"

struct Axis { int in, out, kernel, stride, padding, dilation; };

struct PoolGeometry {
  int N, C;
  int adaptive;       // windows divide the input: kernel, stride, padding, dilation do not count
  int count_padding;  // averages count the padding that a window covers
  Axis d, h, w;
  int64 divisor;      // of an average, where it is given; else 0
  offset x_n, x_c, x_d, x_h, x_w;
  offset y_n, y_c, y_d, y_h, y_w;
};

static_assert(sizeof(PoolGeometry) == 22 * 4 + 8 + 10 * sizeof(offset), "as packed by the plans");

// Taps start, start + dilation, … before stop; none where start is not before stop.
struct Window { int start, stop; };

__device__ __forceinline__ Window window_of(const Axis &a, int o, bool adaptive) {
  if (adaptive)
    return {static_cast<int>(static_cast<int64>(o) * a.in / a.out),
            static_cast<int>((static_cast<int64>(o + 1) * a.in + a.out - 1) / a.out)};
  const int first = o * a.stride - a.padding, end = first + (a.kernel - 1) * a.dilation + 1;
  const int start = first >= 0 ? first : first + (-first + a.dilation - 1) / a.dilation * a.dilation;
  return {start, end < a.in ? end : a.in};
}

// What the window counts in an average's divisor: its cells, padding included or not, but never what
// lies behind the padding.
__device__ __forceinline__ int extent_of(const Axis &a, int o, const PoolGeometry &g) {
  if (g.adaptive || !g.count_padding) {
    const Window v = window_of(a, o, g.adaptive);
    return v.stop - v.start;
  }
  const int first = o * a.stride - a.padding, end = first + a.kernel;
  return (end < a.in + a.padding ? end : a.in + a.padding) - first;
}

__device__ __forceinline__ accumulator divisor_of(const PoolGeometry &g, int od, int oh, int ow) {
  if (g.divisor != 0) return static_cast<accumulator>(g.divisor);
  return static_cast<accumulator>(static_cast<int64>(extent_of(g.d, od, g)) * extent_of(g.h, oh, g) *
                                  extent_of(g.w, ow, g));
}

// The outputs start to stop - 1 whose windows hold input position i; of averages: no dilation.
__device__ __forceinline__ Window holders_of(const Axis &a, int i, bool adaptive) {
  if (adaptive)
    return {static_cast<int>(static_cast<int64>(i) * a.out / a.in),
            static_cast<int>((static_cast<int64>(i + 1) * a.out + a.in - 1) / a.in)};
  const int behind = i + a.padding - a.kernel, last = (i + a.padding) / a.stride;
  return {behind < 0 ? 0 : behind / a.stride + 1, last < a.out ? last + 1 : a.out};
}
