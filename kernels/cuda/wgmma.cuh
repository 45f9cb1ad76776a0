// wgmma.cuh — products of matrices by a warpgroup, four warps whose first is a multiple of four; both
// operands in shared memory. sm_90a. The emulator's bodies: emulator/wgmma.h.
//
// An operand's tile has rows of 128 bytes (64 elements of 16 bits along what is summed over), from
// an address that is a multiple of 1024, with 16-byte chunks exchanged: chunk ^ row % 8. One product
// takes 16 elements of each row: 32 bytes further on for the next 16.
#pragma once
#include "ptx.cuh"

#ifdef EMULATOR
#include "emulator/wgmma.h"
#else

// The descriptor of a tile: address, 1024 bytes from 8 rows to the next 8, exchange of chunks by
// 128 bytes; in units of 16 bytes.
__device__ __forceinline__ unsigned long long tile_of(const void *p) {
  return (shared_address(p) & 0x3ffff) >> 4 | 1ull << 16 | (1024ull >> 4) << 32 | 1ull << 62;
}

// Before the first product, and before products whose sums ordinary code has touched.
__device__ __forceinline__ void warpgroup_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
// Ends a group of products.
__device__ __forceinline__ void warpgroup_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Until at most LEFT groups are under way; the sums of the others may then be read.
template <int LEFT, int COUNT>
__device__ __forceinline__ void warpgroup_wait(float (&sum)[COUNT]) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
#pragma unroll
  for (int i = 0; i < COUNT; i++) asm volatile("" : "+f"(sum[i])::"memory");
}

#define SUMS_4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define SUMS_16(i) SUMS_4(i), SUMS_4(i + 4), SUMS_4(i + 8), SUMS_4(i + 12)
#define SUMS_32(i) SUMS_16(i), SUMS_16(i + 16)
#define SUMS_64(i) SUMS_32(i), SUMS_32(i + 32)
#define SUMS_128(i) SUMS_64(i), SUMS_64(i + 64)

// d += a b for a 64x16, b 16xN, by the warpgroup. A warp has rows 16 (warp % 4) and up; of the
// lane's sums, d[4j] and d[4j + 1] are row lane / 4, columns 8j + 2 (lane % 4) and the next;
// d[4j + 2] and d[4j + 3] lie 8 rows further down.
#define WARPGROUP_PRODUCT(T, type, N, COUNT, REGISTERS, A, B)                                      \
  __device__ __forceinline__ void warpgroup_multiply_add(float (&d)[COUNT], unsigned long long a,  \
                                                         unsigned long long b, T) {                \
    asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." type "." type " {" REGISTERS    \
                 "}, %" #A ", %" #B ", 1, 1, 1, 0, 0;"                                             \
                 : SUMS_##COUNT(0) : "l"(a), "l"(b));                                              \
  }
#define REGISTERS_32 \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define REGISTERS_64 \
  REGISTERS_32 "," \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
  "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define REGISTERS_128 \
  REGISTERS_64 "," \
  "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79," \
  "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95," \
  "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111," \
  "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
WARPGROUP_PRODUCT(float16, "f16", 64, 32, REGISTERS_32, 32, 33)
WARPGROUP_PRODUCT(bfloat16, "bf16", 64, 32, REGISTERS_32, 32, 33)
WARPGROUP_PRODUCT(float16, "f16", 128, 64, REGISTERS_64, 64, 65)
WARPGROUP_PRODUCT(bfloat16, "bf16", 128, 64, REGISTERS_64, 64, 65)
WARPGROUP_PRODUCT(float16, "f16", 256, 128, REGISTERS_128, 128, 129)
WARPGROUP_PRODUCT(bfloat16, "bf16", 256, 128, REGISTERS_128, 128, 129)

#undef WARPGROUP_PRODUCT
#endif
