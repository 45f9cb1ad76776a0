// slide.cuh — the window of a forward pass over what a thread holds: which elements of its part of x
// meet which of its outputs, all known when it is compiled.
//
// Macros: TAPS_H, TAPS_W, STRIDE_H, STRIDE_W, DILATION_H, DILATION_W, besides those of planes.cuh or
// channels.cuh.
#pragma once

#ifndef TAPS_H
#define TAPS_H 3
#define TAPS_W 3
#define STRIDE_H 1
#define STRIDE_W 1
#define DILATION_H 1
#define DILATION_W 1
#endif

// Of a thread's part: how far it begins behind its neighbour's, and how large it is.
constexpr int STEP_H = ROWS * STRIDE_H, STEP_W = COLUMNS * STRIDE_W;
constexpr int SPAN_H = (ROWS - 1) * STRIDE_H + (TAPS_H - 1) * DILATION_H + 1;
constexpr int SPAN_W = (COLUMNS - 1) * STRIDE_W + (TAPS_W - 1) * DILATION_W + 1;

// Where the part of the outputs from row, or column, `o` on begins in x.
__device__ __forceinline__ int top_of(int o, int padding) { return o * STRIDE_H - padding; }
__device__ __forceinline__ int left_of(int o, int padding) { return o * STRIDE_W - padding; }

__device__ __forceinline__ constexpr int tap_at(int behind, int dilation, int K) {
  return behind >= 0 && behind % dilation == 0 && behind / dilation < K ? behind / dilation : -1;
}

// The tap by which row r of the part meets output row j, column s output column i; -1: by none.
__device__ __forceinline__ constexpr int tap_h(int r, int j) {
  return tap_at(r - j * STRIDE_H, DILATION_H, TAPS_H);
}
__device__ __forceinline__ constexpr int tap_w(int s, int i) {
  return tap_at(s - i * STRIDE_W, DILATION_W, TAPS_W);
}

#include "meet.cuh"
