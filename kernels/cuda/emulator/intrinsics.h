// intrinsics.h — what needs no other thread: vector types, bits, arithmetic, atomics, and the
// conversions of device.cuh.
#pragma once
// C's math.h alone: the one of C++ takes half of the time that a kernel takes to compile.
#define _GLIBCXX_INCLUDE_NEXT_C_HEADERS
#include <math.h>
#undef _GLIBCXX_INCLUDE_NEXT_C_HEADERS
#include <cstdint>
#include <cstring>

struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) double2 { double x, y; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

namespace emulator {
template <class To, class From>
To bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}
}  // namespace emulator

inline unsigned __float_as_uint(float v) { return emulator::bits<unsigned>(v); }
inline int __float_as_int(float v) { return emulator::bits<int>(v); }
inline float __uint_as_float(unsigned v) { return emulator::bits<float>(v); }
inline float __int_as_float(int v) { return emulator::bits<float>(v); }
inline double __longlong_as_double(long long v) { return emulator::bits<double>(v); }
inline long long __double_as_longlong(double v) { return emulator::bits<long long>(v); }
inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline int __clz(int v) { return v ? __builtin_clz(static_cast<unsigned>(v)) : 32; }
inline unsigned __umulhi(unsigned a, unsigned b) { return (1ull * a * b) >> 32; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
// What is overloaded in CUDA; of C's functions only those with an f take floats.
inline float sqrt(float v) { return sqrtf(v); }
inline float fabs(float v) { return fabsf(v); }
inline float fma(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float v) { return 1 / sqrtf(v); }
template <class T> T __ldg(const T *p) { return *p; }
template <class T> T min(T a, T b) { return b < a ? b : a; }
template <class T> T max(T a, T b) { return a < b ? b : a; }

// Atomics: of fibers none is interrupted, but with EMULATOR_THREADS they must be what they say.
namespace emulator {
template <class T, class F>
T atomically(T *p, F change) {
  T old, next;
  __atomic_load(p, &old, __ATOMIC_RELAXED);
  do next = change(old);
  while (!__atomic_compare_exchange(p, &old, &next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return old;
}
}  // namespace emulator
template <class T> T atomicAdd(T *p, T v) {
  return emulator::atomically(p, [v](T old) -> T { return old + v; });
}
template <class T> T atomicMax(T *p, T v) {
  return emulator::atomically(p, [v](T old) { return old < v ? v : old; });
}
template <class T> T atomicMin(T *p, T v) {
  return emulator::atomically(p, [v](T old) { return v < old ? v : old; });
}
template <class T> T atomicExch(T *p, T v) {
  return emulator::atomically(p, [v](T) { return v; });
}
template <class T> T atomicCAS(T *p, T expected, T v) {
  return emulator::atomically(p, [=](T old) { return old == expected ? v : old; });
}
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

// The conversions of device.cuh, by integers: to nearest, ties to even.
inline float float_of_half(unsigned short h) {
  const unsigned sign = (h & 0x8000u) << 16, exponent = h >> 10 & 31, fraction = h & 1023;
  if (exponent == 31) return __uint_as_float(sign | 0x7f800000u | fraction << 13);
  if (exponent == 0) {
    const float small = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -small : small;
  }
  return __uint_as_float(sign | (exponent + 112) << 23 | fraction << 13);
}

inline unsigned short half_of_float(float v) {
  const unsigned u = __float_as_uint(v), sign = u >> 16 & 0x8000, size = u & 0x7fffffff;
  if (size > 0x7f800000u) return static_cast<unsigned short>(sign | 0x7fff);
  if (size >= 0x477ff000u) return static_cast<unsigned short>(sign | 0x7c00);  // from 65520 on
  if (size < 0x38800000u) {  // below 2^-14: a multiple of 2^-24
    const float units = __uint_as_float(size) * 0x1p24f;
    return static_cast<unsigned short>(sign | static_cast<unsigned>(nearbyintf(units)));
  }
  const unsigned rounded = size + 0xfff + (size >> 13 & 1);
  return static_cast<unsigned short>(sign | ((rounded - 0x38000000u) >> 13));
}
