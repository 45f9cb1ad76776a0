// places.cuh — one thread an element: which thread this is, and which element of an array it owns.
//
// Threads are dealt out in the order of the array in memory, so that a warp writes neighbours.
// Macro: CHANNELS_LAST, 1 if channels are that array's fastest axis.
#pragma once
#include "types.cuh"

#ifndef CHANNELS_LAST
#define CHANNELS_LAST 0
#endif

template <class T> struct Unsigned { using type = unsigned; };
template <> struct Unsigned<int64> { using type = unsigned long long; };
using unsigned_offset = Unsigned<offset>::type;

__device__ __forceinline__ unsigned_offset this_thread() {
  return static_cast<unsigned_offset>(blockIdx.x) * blockDim.x + threadIdx.x;
}

struct Place { int n, c, d, h, w; };

// Element `at` of N x C x D x H x W; it has no such element if n comes out as N.
__device__ __forceinline__ Place place_of(unsigned_offset at, int C, int D, int H, int W) {
  Place p;
  if (CHANNELS_LAST) p.c = at % C, at /= C;
  p.w = at % W, at /= W;
  p.h = at % H, at /= H;
  p.d = at % D, at /= D;
  if (!CHANNELS_LAST) p.c = at % C, at /= C;
  p.n = at;
  return p;
}
