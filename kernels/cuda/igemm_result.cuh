// igemm_result.cuh — what an implicit GEMM computes, and how a finished tile gets into y.
//
// Padding's zeros are multiplied by weights: an infinite weight would make NaN of them, and halves
// of split floats could make NaN of infinity. So whatever sum is not finite is added up once more,
// element by element over what is inside (`again`): right, and slow, where there are infinities.
// Tests compile with AGAIN 0, so that it does not repair what read poisoned memory.
//
// Macros: BLOCK_M x BLOCK_N is a block's tile; Y_LAST: channels of y are neighbours, aligned to 16
// bytes and whole chunks in every group.
#pragma once
#include "types.cuh"

#ifndef BLOCK_M
#define BLOCK_M 128
#endif
#ifndef BLOCK_N
#define BLOCK_N 128
#endif
#ifndef Y_LAST
#define Y_LAST 1
#endif
#ifndef AGAIN
#define AGAIN 1
#endif

constexpr int VECTOR = 16 / sizeof(element);  // elements of a chunk of 16 bytes

__device__ __forceinline__ bool is_finite(float v) { return fabsf(v) < infinity(); }

// As packed by the plan functions. Strides in elements; channels of x and of a row of w are
// neighbours.
struct Gemm {
  int N, groups, channels, columns;  // of a group: summed over, and of the result
  int ID, IH, IW, OD, OH, OW, TD, TH, TW;
  int step_d, step_h, step_w, start_d, start_h, start_w, hop_d, hop_h, hop_w;
  offset x_n, x_g, x_d, x_h, x_w;
  offset w_row, w_d, w_h, w_w, w_first;  // w_first: of the first tap
  offset y_n, y_k, y_d, y_h, y_w, y_first;
  offset b_k;
};

static_assert(sizeof(Gemm) == 22 * 4 + 17 * sizeof(offset), "as packed by the plan functions");

struct Position { int n, d, h, w; };

// Row m of the product; n is N or more behind the last.
__device__ __forceinline__ Position position_of(unsigned m, const Gemm &g) {
  Position p;
  p.w = m % g.OW, m /= g.OW;
  p.h = m % g.OH, m /= g.OH;
  p.d = m % g.OD, p.n = m / g.OD;
  return p;
}

// One element of the result by an ordinary sum over what is inside.
__device__ __forceinline__ float again(const element *x, const element *w, const Gemm &g,
                                       const Position &p, int group, int column) {
  float sum = 0;
  const int d0 = p.d * g.step_d + g.start_d, h0 = p.h * g.step_h + g.start_h;
  const int v0 = p.w * g.step_w + g.start_w;
  for (int td = 0; td < g.TD; td++)
    for (int th = 0; th < g.TH; th++)
#pragma unroll 1
      for (int tw = 0; tw < g.TW; tw++) {
        const int d = d0 + td * g.hop_d, h = h0 + th * g.hop_h, v = v0 + tw * g.hop_w;
        if (d < 0 || d >= g.ID || h < 0 || h >= g.IH || v < 0 || v >= g.IW) continue;
        const element *in = x + p.n * g.x_n + group * g.x_g + d * g.x_d + h * g.x_h + v * g.x_w;
        const element *tap = w + g.w_first + (group * g.columns + column) * g.w_row + td * g.w_d +
                             th * g.w_h + tw * g.w_w;
#pragma unroll 1
        for (int c = 0; c < g.channels; c++) sum += widen(in[c]) * widen(tap[c]);
      }
  return sum;
}

// The finished tile lies in shared memory in y's order: channels or positions fastest. 16 bytes
// more keep rows in different banks.
__device__ __forceinline__ int staged(int m, int column) {
  return Y_LAST ? m * (BLOCK_N + VECTOR) + column : column * (BLOCK_M + VECTOR) + m;
}

// Writes the tile that the block has put into shared memory; `odd`: one of this thread's sums is not
// finite. All threads of the block come here.
__device__ __forceinline__ void finish(element *y, const element *x, const element *w,
                                       const element *b, const Gemm &g, element *tiles,
                                       unsigned m0, int group, int n0, bool odd) {
  if (__syncthreads_or(AGAIN && odd)) {  // the tile of y is whole
    for (int i = threadIdx.x; i < BLOCK_M * BLOCK_N; i += int(blockDim.x)) {
      const int m = i / BLOCK_N, column = i % BLOCK_N, k = n0 + column;
      const Position p = position_of(m0 + m, g);
      element *held = tiles + staged(m, column);
      if (p.n >= g.N || k >= g.columns || is_finite(load(held))) continue;
      const float bias = b ? load(b + (group * g.columns + k) * g.b_k) : 0;
      store(held, finished(bias + again(x, w, g, p, group, k)));
    }
    __syncthreads();
  }

  element *out = y + g.y_first + (group * g.columns + n0) * g.y_k;
  constexpr int WIDTH = Y_LAST ? VECTOR : 1;
  for (int i = threadIdx.x; i < BLOCK_M * BLOCK_N / WIDTH; i += int(blockDim.x)) {
    const int m = Y_LAST ? i / (BLOCK_N / WIDTH) : i % BLOCK_M;
    const int column = Y_LAST ? i % (BLOCK_N / WIDTH) * WIDTH : i / BLOCK_M;
    const Position p = position_of(m0 + m, g);
    if (p.n >= g.N || n0 + column >= g.columns) continue;
    element *to = out + p.n * g.y_n + p.d * g.y_d + p.h * g.y_h + p.w * g.y_w + column * g.y_k;
    const element *held = tiles + staged(m, column);
    if (Y_LAST) *reinterpret_cast<uint4 *>(to) = *reinterpret_cast<const uint4 *>(held);
    else *to = *held;
  }
}
