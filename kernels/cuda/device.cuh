// device.cuh — what is written in another way for a GPU and for the emulator: dynamic shared memory
// and the conversions of float16. (Tensor cores and asynchronous copies: ptx.cuh.)
#pragma once

#ifdef EMULATOR
#include "emulator/device.h"
#else

// DYN_SHARED(float, tile): `float *tile`, the launch's dynamic shared memory, aligned to 1024 bytes.
#define DYN_SHARED(T, name)                                    \
  extern __shared__ __align__(1024) unsigned char name##_at[]; \
  T *name = reinterpret_cast<T *>(name##_at)

__device__ __forceinline__ float float_of_half(unsigned short bits) {
  float v;
  asm("cvt.f32.f16 %0, %1;" : "=f"(v) : "h"(bits));
  return v;
}

__device__ __forceinline__ unsigned short half_of_float(float v) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(v));
  return bits;
}

#endif

// bfloat16 is the upper half of a float: to nearest, ties to even; every NaN becomes 0x7fff.
__device__ __forceinline__ float float_of_bfloat(unsigned short bits) {
  return __uint_as_float(static_cast<unsigned>(bits) << 16);
}

__device__ __forceinline__ unsigned short bfloat_of_float(float v) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  unsigned short bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(v));
  return bits;
#else
  const unsigned u = __float_as_uint(v);
  if ((u & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return static_cast<unsigned short>((u + 0x7fffu + (u >> 16 & 1)) >> 16);
#endif
}

__device__ __forceinline__ float infinity() { return __int_as_float(0x7f800000); }
