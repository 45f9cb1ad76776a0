// types.cuh — the types of a compilation: elements, the sums they are added up in, offsets.
//
// A file is compiled for one element type: -DELEMENT=float32, float64, float16 or bfloat16, named as
// refconv names dtypes. 16-bit elements are bits in memory; arithmetic is in float, and a result is
// rounded once, when stored. -DOFFSET=int32, or int64 where an array reaches over 2^31 elements.
// -DRELU=1: a convolution stores no negative result, which saves who wants that a pass over y.
#pragma once
#include "device.cuh"

#ifndef ELEMENT
#define ELEMENT float32
#endif
#ifndef OFFSET
#define OFFSET int64
#endif
#ifndef RELU
#define RELU 0
#endif

using float32 = float;
using float64 = double;
struct float16 { unsigned short bits; };
struct bfloat16 { unsigned short bits; };

using element = ELEMENT;

using int32 = int;
using int64 = long long;
using offset = OFFSET;

template <class T> struct Sums { using type = float; };
template <> struct Sums<double> { using type = double; };
using accumulator = Sums<element>::type;

__device__ __forceinline__ float widen(float v) { return v; }
__device__ __forceinline__ double widen(double v) { return v; }
__device__ __forceinline__ float widen(float16 v) { return float_of_half(v.bits); }
__device__ __forceinline__ float widen(bfloat16 v) { return float_of_bfloat(v.bits); }

template <class T> struct Narrow;
template <> struct Narrow<float> { static __device__ float of(float v) { return v; } };
template <> struct Narrow<double> { static __device__ double of(double v) { return v; } };
template <> struct Narrow<float16> {
  static __device__ float16 of(float v) { return {half_of_float(v)}; }
};
template <> struct Narrow<bfloat16> {
  static __device__ bfloat16 of(float v) { return {bfloat_of_float(v)}; }
};

__device__ __forceinline__ accumulator load(const element *p) { return widen(*p); }
__device__ __forceinline__ void store(element *p, accumulator v) { *p = Narrow<element>::of(v); }
// A result as it is stored; NaN stays.
__device__ __forceinline__ accumulator finished(accumulator v) { return RELU && v < 0 ? 0 : v; }
