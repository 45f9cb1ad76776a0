// pad.cuh — a padding as kernels see it, passed by value: five axes, each with its own rule of where
// an output comes from. The plan orders them so that the last is the output's fastest.
#pragma once
#include "types.cuh"

enum Mode { CONSTANT, REFLECT, REPLICATE, CIRCULAR };

struct PaddedAxis {
  int in, out;     // elements before and after
  int low, high;   // added (or, negative, cropped) in front and behind
  int mode, cropped, period;  // of CIRCULAR: what it repeats, `period` elements from `cropped` on
};

struct PadGeometry {
  PaddedAxis axis[5];
  offset x[5], y[5];  // strides; x is the unpadded side
};

static_assert(sizeof(PadGeometry) >= 35 * 4 + 10 * sizeof(offset), "as packed by the plans");

// The input position that output position o shows; -1: the constant.
__device__ __forceinline__ int source_of(const PaddedAxis &a, int o) {
  int i = o - a.low;
  if (a.mode == CONSTANT) return i < 0 || i >= a.in ? -1 : i;
  if (a.mode == REFLECT) {
    i = i < 0 ? -i : i;
    return i < a.in ? i : 2 * (a.in - 1) - i;
  }
  if (a.mode == REPLICATE) return i < 0 ? 0 : i >= a.in ? a.in - 1 : i;
  const int turn = (i - a.cropped) % a.period;
  return (turn < 0 ? turn + a.period : turn) + a.cropped;
}

// The first output from `o` on that shows input position i, or a.out if there is none.
__device__ __forceinline__ int next_shown(const PaddedAxis &a, int i, int o) {
  const int own = i + a.low;  // where it would be without a border
  int found = a.out;
  if (a.mode == CONSTANT) {
    if (own >= o) found = own;
  } else if (a.mode == REPLICATE) {
    const int first = i == 0 ? 0 : own, last = i == a.in - 1 ? a.out - 1 : own;
    const int next = o > first ? o : first;
    if (next <= last) found = next;
  } else if (a.mode == REFLECT) {
    const int left = a.low - i, right = a.low + 2 * (a.in - 1) - i;  // and its two images
    found = left >= o ? left : own >= o ? own : right >= o ? right : a.out;
  } else if (i >= a.cropped && i < a.cropped + a.period) {
    const int behind = (o - own) % a.period;  // how far o is behind one that shows i
    found = behind == 0 ? o : o + (behind < 0 ? -behind : a.period - behind);
  }
  return found >= 0 && found < a.out ? found : a.out;
}
