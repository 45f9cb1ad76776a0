// unslide.cuh — slide.cuh turned round, for a gradient of the input: which elements of a thread's part
// of dy meet which of its elements of dx.
//
// i meets o by tap k if i + padding == o * stride + k * dilation. A thread's elements begin at a
// multiple of the stride, so with the phase of the padding, PHASE = padding mod stride, all of it is
// known when it is compiled; ROWS and COLUMNS are multiples of the strides.
//
// Macros: those of slide.cuh, and PHASE_H, PHASE_W.
#pragma once

#ifndef TAPS_H
#define TAPS_H 3
#define TAPS_W 3
#define STRIDE_H 1
#define STRIDE_W 1
#define DILATION_H 1
#define DILATION_W 1
#define PHASE_H 0
#define PHASE_W 0
#endif

static_assert(ROWS % STRIDE_H == 0 && COLUMNS % STRIDE_W == 0, "one phase for all threads");

// How many elements of dy before the one that the first tap meets belong to the part.
__device__ __forceinline__ constexpr int before(int K, int dilation, int phase, int stride) {
  return (K - 1) * dilation > phase ? ((K - 1) * dilation - phase + stride - 1) / stride : 0;
}
constexpr int BEFORE_H = before(TAPS_H, DILATION_H, PHASE_H, STRIDE_H);
constexpr int BEFORE_W = before(TAPS_W, DILATION_W, PHASE_W, STRIDE_W);

constexpr int STEP_H = ROWS / STRIDE_H, STEP_W = COLUMNS / STRIDE_W;
constexpr int SPAN_H = (ROWS - 1 + PHASE_H) / STRIDE_H + BEFORE_H + 1;
constexpr int SPAN_W = (COLUMNS - 1 + PHASE_W) / STRIDE_W + BEFORE_W + 1;

// Where the part of the elements from row, or column, `i` on begins in dy; the division has no rest.
__device__ __forceinline__ int top_of(int i, int padding) {
  return (i + padding - PHASE_H) / STRIDE_H - BEFORE_H;
}
__device__ __forceinline__ int left_of(int i, int padding) {
  return (i + padding - PHASE_W) / STRIDE_W - BEFORE_W;
}

__device__ __forceinline__ constexpr int tap_at(int behind, int dilation, int K) {
  return behind >= 0 && behind % dilation == 0 && behind / dilation < K ? behind / dilation : -1;
}

// The tap by which row r of the part meets element row j, column s element column i; -1: by none.
__device__ __forceinline__ constexpr int tap_h(int r, int j) {
  return tap_at(j + PHASE_H - (r - BEFORE_H) * STRIDE_H, DILATION_H, TAPS_H);
}
__device__ __forceinline__ constexpr int tap_w(int s, int i) {
  return tap_at(i + PHASE_W - (s - BEFORE_W) * STRIDE_W, DILATION_W, TAPS_W);
}

#include "meet.cuh"
