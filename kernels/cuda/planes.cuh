// planes.cuh — for steps that slide a window over single planes (pooling, depthwise convolution)
// in NCHW: a tile of several planes in shared memory, of which a thread holds a row in registers.
//
// A block has THREADS_W x THREADS_H threads for each of PLANES planes; a thread owns COLUMNS outputs
// in a row, in ROWS rows. Small planes share a block, large ones are cut.
#pragma once
#include "types.cuh"

#ifndef THREADS_W
#define THREADS_W 8
#define THREADS_H 8
#define PLANES 4
#define ROWS 4
#endif

constexpr int COLUMNS = 4;
constexpr int THREADS = THREADS_W * THREADS_H * PLANES;

__device__ constexpr int common_factor(int a, int b) {
  return b == 0 ? a : common_factor(b, a % b);
}
__device__ constexpr int round_up(int a, int b) { return (a + b - 1) / b * b; }

// Which part of which planes a block has: its planes are plane to plane + PLANES - 1, as far as there
// are so many, its outputs begin at row, column.
struct Part { unsigned plane; int row, column; };

__device__ __forceinline__ Part part_of_block(int H, int W) {
  const unsigned across = (W - 1) / (THREADS_W * COLUMNS) + 1;
  const unsigned down = (H - 1) / (THREADS_H * ROWS) + 1;
  unsigned at = blockIdx.x;
  Part p;
  p.column = at % across * (THREADS_W * COLUMNS), at /= across;
  p.row = at % down * (THREADS_H * ROWS);
  p.plane = at / down * PLANES;
  return p;
}

// Which outputs of its block's part a thread has.
struct Own { int plane, row, column; };

__device__ __forceinline__ Own own_outputs() {
  const int w = threadIdx.x % THREADS_W, h = threadIdx.x / THREADS_W % THREADS_H;
  return {static_cast<int>(threadIdx.x) / (THREADS_W * THREADS_H), h * ROWS, w * COLUMNS};
}

// A tile in which a thread's part begins STEP_H, STEP_W behind its neighbour's, and is SPAN_H x SPAN_W.
template <int STEP_H, int STEP_W, int SPAN_H, int SPAN_W>
struct Tile {
  static constexpr int UNIT = common_factor(STEP_W, 16 / static_cast<int>(sizeof(accumulator)));
  static constexpr int WIDTH = round_up(SPAN_W, UNIT);  // of a thread's row, in whole vectors
  static constexpr int HEIGHT = (THREADS_H - 1) * STEP_H + SPAN_H;
  static constexpr int PITCH =
      round_up((THREADS_W - 1) * STEP_W + WIDTH, 16 / static_cast<int>(sizeof(accumulator)));
  static constexpr int SIZE = PLANES * HEIGHT * PITCH;

  // Fills the tile with rows from `top` and columns from `left` on, and with `outside` where there is
  // no such element. `planes` has where each plane begins, or a negative number if it is not there.
  static __device__ __forceinline__ void fill(accumulator *tile, const element *x,
                                              const int64 *planes, int top, int left, int H, int W,
                                              offset x_h, offset x_w, accumulator outside) {
#pragma unroll 4
    for (int i = threadIdx.x; i < SIZE; i += THREADS) {
      const int h = top + i / PITCH % HEIGHT, w = left + i % PITCH;
      const int64 plane = planes[i / (HEIGHT * PITCH)];
      const bool inside = plane >= 0 && h >= 0 && h < H && w >= 0 && w < W;
      tile[i] = inside ? load(x + plane + h * x_h + w * x_w) : outside;
    }
  }

  // Where a thread's part of the tile begins.
  static __device__ __forceinline__ const accumulator *at(const accumulator *tile, const Own &own) {
    return tile + (own.plane * HEIGHT + own.row / ROWS * STEP_H) * PITCH +
           own.column / COLUMNS * STEP_W;
  }

  static __device__ __forceinline__ void row(accumulator (&v)[WIDTH], const accumulator *at, int r) {
    struct alignas(UNIT * sizeof(accumulator)) Unit { accumulator v[UNIT]; };
#pragma unroll
    for (int i = 0; i < WIDTH; i += UNIT) {
      const Unit unit = *reinterpret_cast<const Unit *>(at + r * PITCH + i);
#pragma unroll
      for (int k = 0; k < UNIT; k++) v[i + k] = unit.v[k];
    }
  }
};

// Stores COLUMNS values in a row, of which `count` are inside: at once if they lie so.
template <class T>
__device__ __forceinline__ void store_row(T *to, offset step, const T (&v)[COLUMNS], int count) {
  constexpr int ALIGNED = COLUMNS * sizeof(T) < 16 ? COLUMNS * sizeof(T) : 16;
  struct alignas(ALIGNED) Row { T v[COLUMNS]; };
  if (count >= COLUMNS && step == 1 && reinterpret_cast<unsigned long long>(to) % ALIGNED == 0) {
    Row row;
#pragma unroll
    for (int i = 0; i < COLUMNS; i++) row.v[i] = v[i];
    *reinterpret_cast<Row *>(to) = row;
    return;
  }
#pragma unroll
  for (int i = 0; i < COLUMNS; i++)
    if (i < count) to[i * step] = v[i];
}
