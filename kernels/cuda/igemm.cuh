// igemm.cuh — implicit GEMM on tensor cores: one tile of y = gathered x times w, for fprop and dgrad.
//
// Rows of the product are positions of the result (n, od, oh, ow), columns the result's channels of
// one group, and what is summed over is (tap, channel of x), channels fastest. A row of x for a tap
// is `channels` neighbours in memory, copied 16 bytes at once into shared memory; no matrix of
// windows is ever written. Chunks outside x are filled with zeros.
//
// Per axis, position o and tap t meet at o * step + start + t * hop of x. fprop: stride, -padding,
// dilation. dgrad's positions are those of one phase, with step 1 and the hop back.
//
// What is computed and where it is written: igemm_result.cuh.
//
// Macros: those of igemm_result.cuh; WARPS_M x WARPS_N warps share a tile; STAGES tiles of depth are
// held at once; BLOCKS share a multiprocessor. Dynamic shared memory: tile_bytes of the plan.
#pragma once
#include "fragments.cuh"
#include "igemm_result.cuh"

#ifndef WARPS_M
#define WARPS_M 2
#define WARPS_N 4
#define STAGES 4
#define BLOCKS 2
#endif

constexpr int THREADS = WARPS_M * WARPS_N * 32;
constexpr int WARP_M = BLOCK_M / WARPS_M, WARP_N = BLOCK_N / WARPS_N;
constexpr int TILE = (BLOCK_M + BLOCK_N) * DEPTH;  // elements of a stage
constexpr int PASS = THREADS / CHUNKS;             // rows that the block copies at once
constexpr int COPIES_M = BLOCK_M / PASS, COPIES_N = BLOCK_N / PASS;
static_assert(WARP_M % 16 == 0 && WARP_N % 16 == 0 && BLOCK_M % PASS == 0 && BLOCK_N % PASS == 0,
              "whole fragments and whole passes");
constexpr int NOWHERE = -(1 << 30);

// Copies tiles of x and w, chunk by chunk: a thread always the same chunk of the same rows.
struct Loader {
  const element *x, *w;
  offset from[COPIES_M], row[COPIES_N];  // where the rows' first taps lie
  int d[COPIES_M], h[COPIES_M], v[COPIES_M];
  int count;              // rows of w that there are
  int c, td, th, tw;      // channel and tap of this thread's chunk

  __device__ __forceinline__ void start(const element *x_, const element *w_, const Gemm &g,
                                        unsigned m0, int group, int n0) {
    const int first = threadIdx.x / CHUNKS;
    x = x_, w = w_;
#pragma unroll
    for (int i = 0; i < COPIES_M; i++) {
      const Position p = position_of(m0 + first + i * PASS, g);
      d[i] = p.n < g.N ? p.d * g.step_d + g.start_d : NOWHERE;
      h[i] = p.h * g.step_h + g.start_h;
      v[i] = p.w * g.step_w + g.start_w;
      from[i] = p.n < g.N ? p.n * g.x_n + group * g.x_g + d[i] * g.x_d + h[i] * g.x_h +
                                v[i] * g.x_w
                          : 0;
    }
    count = g.columns - n0 - first;
#pragma unroll
    for (int i = 0; i < COPIES_N; i++)
      row[i] = g.w_first + (group * g.columns + n0 + first + i * PASS) * g.w_row;
    c = threadIdx.x % CHUNKS * VECTOR, td = th = tw = 0;
    wrap(g);
  }

  // Carry channels into taps.
  __device__ __forceinline__ void wrap(const Gemm &g) {
    while (c >= g.channels) {
      c -= g.channels;
      if (++tw == g.TW) tw = 0, th++;
      if (th == g.TH) th = 0, td++;
    }
  }

  // Start the copies of the next tile, and go on behind it.
  __device__ __forceinline__ void next(element *tile, const Gemm &g) {
    const int first = threadIdx.x / CHUNKS, chunk = threadIdx.x % CHUNKS;
    const int by_d = td * g.hop_d, by_h = th * g.hop_h, by_w = tw * g.hop_w;
    const offset x_tap = by_d * g.x_d + by_h * g.x_h + by_w * g.x_w + c;
    const offset w_tap = td * g.w_d + th * g.w_h + tw * g.w_w + c;
    const bool there = td < g.TD;
#pragma unroll
    for (int i = 0; i < COPIES_M; i++) {
      const bool inside = there && unsigned(d[i] + by_d) < unsigned(g.ID) &&
                          unsigned(h[i] + by_h) < unsigned(g.IH) &&
                          unsigned(v[i] + by_w) < unsigned(g.IW);
      copy_async_16(tile + swizzled(first + i * PASS, chunk), inside ? x + from[i] + x_tap : x,
                    inside);
    }
#pragma unroll
    for (int i = 0; i < COPIES_N; i++) {
      const bool inside = there && i * PASS < count;
      copy_async_16(tile + swizzled(BLOCK_M + first + i * PASS, chunk),
                    inside ? w + row[i] + w_tap : w, inside);
    }
    c += DEPTH;
    wrap(g);
  }
};

__device__ __forceinline__ void igemm_tile(element *y, const element *x, const element *w,
                                           const element *b, const Gemm &g) {
  DYN_SHARED(element, tiles);  // [STAGES][x: BLOCK_M, w: BLOCK_N][DEPTH]; at the end, of y
  const int parts = (g.columns - 1) / BLOCK_N + 1;
  unsigned at = blockIdx.x;
  const int n0 = at % parts * BLOCK_N, group = (at /= parts) % g.groups;
  const unsigned m0 = at / g.groups * BLOCK_M;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int warp_m = warp % WARPS_M * WARP_M, warp_n = warp / WARPS_M * WARP_N;

  Loader loader;
  loader.start(x, w, g, m0, group, n0);
  const int steps = (g.TD * g.TH * g.TW * g.channels + DEPTH - 1) / DEPTH;
#pragma unroll
  for (int s = 0; s < STAGES - 1; s++) {
    if (s < steps) loader.next(tiles + s * TILE, g);
    copy_async_commit();
  }
  float sum[WARP_M / 16][WARP_N / 8][4] = {};
  for (int s = 0; s < steps; s++) {
    copy_async_wait<STAGES - 2>();
    __syncthreads();  // tile s is whole, and tile s - 1 is used up
    if (s + STAGES - 1 < steps) loader.next(tiles + (s + STAGES - 1) % STAGES * TILE, g);
    copy_async_commit();
    const element *tile = tiles + s % STAGES * TILE;
#pragma unroll
    for (int step = 0; step < CHUNKS / 2; step++) {
      unsigned left[WARP_M / 16][4], right[WARP_N / 8][2];
#pragma unroll
      for (int i = 0; i < WARP_M / 16; i++) load_left(left[i], tile, warp_m + i * 16, step);
#pragma unroll
      for (int j = 0; j < WARP_N / 8; j += 2)
        load_right(right + j, tile, BLOCK_M + warp_n + j * 8, step);
      multiply_all(sum, left, right, element{});
    }
  }
  copy_async_wait<0>();
  __syncthreads();  // the stages are free

  bool odd = false;
#pragma unroll
  for (int i = 0; i < WARP_M / 16; i++)
#pragma unroll
    for (int j = 0; j < WARP_N / 8; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const int m = warp_m + i * 16 + lane / 4 + e / 2 * 8;
        const int column = warp_n + j * 8 + lane % 4 * 2 + e % 2, k = n0 + column;
        float v = sum[i][j][e];
        if (b && k < g.columns) v += load(b + (group * g.columns + k) * g.b_k);
        odd |= !is_finite(v);
        store(tiles + staged(m, column), is_finite(v) ? finished(v) : v);
      }
  finish(y, x, w, b, g, tiles, m0, group, n0, odd);
}
