// meet.cuh — what a window's taps join, for slide.cuh and unslide.cuh, which include it: their tap_h
// and tap_w say which row and column of a thread's part meet which of its outputs.
//
// Where something is asked between these loops (wgrad_5_depthwise.cu, depthwise_last.cuh) they are
// written out: asked inside of them it costs up to 58 registers.
#pragma once

// Gives all that row r of the part meets to take(j, i, s, tap): output row j, column i, by the part's
// column s and this tap. In the order of taps, of each output.
template <class Take>
__device__ __forceinline__ void each_meeting(int r, Take take) {
#pragma unroll
  for (int j = 0; j < ROWS; j++) {
    const int kh = tap_h(r, j);
    if (kh < 0) continue;
#pragma unroll
    for (int s = 0; s < SPAN_W; s++)
#pragma unroll
      for (int i = 0; i < COLUMNS; i++)
        if (tap_w(s, i) >= 0) take(j, i, s, kh * TAPS_W + tap_w(s, i));
  }
}
