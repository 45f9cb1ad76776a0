// channels.cuh — for steps that slide a window over single planes in channels_last: a thread owns
// VECTOR channels of COLUMNS x ROWS outputs, so that a warp reads and writes whole lines.
//
// A block has THREADS_C vectors of channels of each of PARTS parts of the output.
#pragma once
#include "types.cuh"

#ifndef THREADS_C
#define THREADS_C 32
#define PARTS 8
#define ROWS 1
#endif

constexpr int COLUMNS = 4;
constexpr int THREADS = THREADS_C * PARTS;
constexpr int VECTOR = sizeof(element) == 8 ? 2 : 4;

struct Part { int n, channel, row, column; };

// A thread's channels and outputs; n comes out as N or more if it has none.
__device__ __forceinline__ Part part_of_thread(int C, int H, int W) {
  const unsigned across = (W - 1) / COLUMNS + 1, down = (H - 1) / ROWS + 1;
  const unsigned groups = (C - 1) / (THREADS_C * VECTOR) + 1;
  const unsigned group = blockIdx.x % groups;
  unsigned at = blockIdx.x / groups * PARTS + threadIdx.x / THREADS_C;
  Part p;
  p.channel = (group * THREADS_C + threadIdx.x % THREADS_C) * VECTOR;
  p.column = at % across * COLUMNS, at /= across;
  p.row = at % down * ROWS;
  p.n = at / down;
  return p;
}

// VECTOR values of which `count` are inside; all at once if they lie so, one behind another.
template <class T>
struct Values {
  static constexpr int ALIGNED = VECTOR * sizeof(T) < 16 ? VECTOR * sizeof(T) : 16;
  struct alignas(ALIGNED) Vector { T v[VECTOR]; };

  static __device__ __forceinline__ bool together(const T *p, offset step, int count) {
    return count >= VECTOR && step == 1 && reinterpret_cast<unsigned long long>(p) % ALIGNED == 0;
  }
  static __device__ __forceinline__ void store(T *to, offset step, const T (&v)[VECTOR], int count) {
    if (together(to, step, count)) {
      Vector all;
#pragma unroll
      for (int k = 0; k < VECTOR; k++) all.v[k] = v[k];
      *reinterpret_cast<Vector *>(to) = all;
      return;
    }
#pragma unroll
    for (int k = 0; k < VECTOR; k++)
      if (k < count) to[k * step] = v[k];
  }
};

__device__ __forceinline__ void load_vector(accumulator (&v)[VECTOR], const element *from, offset step,
                                            int count) {
  using All = Values<element>;
  if (All::together(from, step, count)) {
    const All::Vector all = *reinterpret_cast<const All::Vector *>(from);
#pragma unroll
    for (int k = 0; k < VECTOR; k++) v[k] = widen(all.v[k]);
    return;
  }
#pragma unroll
  for (int k = 0; k < VECTOR; k++)
    if (k < count) v[k] = load(from + k * step);
}
