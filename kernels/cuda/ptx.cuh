// ptx.cuh — the instructions that CUDA C++ has no words for, one function each: asynchronous copies
// into shared memory, matrix fragments, and products of matrices by a warp. sm_80 and newer.
//
// The bodies here are PTX; the emulator's, with the same meaning, are in emulator/mma.h and
// emulator/async_copy.h. Fragments are as the PTX manual draws them: in a warp, lane = 4 * row + column
// / 2 holds two neighbouring columns of its row in one register (of 16 bits), or one (of 32 bits).
#pragma once
#include "types.cuh"

#ifdef EMULATOR
#include "emulator/async_copy.h"
#include "emulator/mma.h"
#else

__device__ __forceinline__ unsigned shared_address(const void *p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

// Copies 16 bytes from global to shared memory, both aligned to 16, some time before the wait for
// their group ends; with `inside` false writes zeros, and reads nothing.
__device__ __forceinline__ void copy_async_16(void *to, const void *from, bool inside) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               ::"r"(shared_address(to)), "l"(from), "r"(inside ? 16 : 0) : "memory");
}
// The same for 4 bytes.
__device__ __forceinline__ void copy_async_4(void *to, const void *from, bool inside) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;"
               ::"r"(shared_address(to)), "l"(from), "r"(inside ? 4 : 0) : "memory");
}
// Ends a group: the copies that this thread started since the last one.
__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;"); }
// Waits until at most LEFT of this thread's groups are under way. Other threads' copies are seen
// after the next barrier only.
template <int LEFT>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}

// Four 8x8 matrices of 16-bit elements from shared memory: lanes 8i to 8i + 7 give the addresses of
// the rows of matrix i, 16 bytes each and aligned so. A lane gets row lane / 4, columns 2 (lane % 4)
// and the next, of each.
__device__ __forceinline__ void load_matrices(unsigned (&r)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row))
               : "memory");
}
// The same, each matrix transposed: a lane gets column lane / 4.
__device__ __forceinline__ void load_matrices_transposed(unsigned (&r)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row))
               : "memory");
}

// d += a b for a 16x16 (row by row), b 16x8 (column by column), d 16x8 in float, by one warp.
// With row = lane / 4 and column = 2 (lane % 4): a[0] row, a[1] row + 8, a[2] row and column + 8,
// a[3] both; b[0] rows `column` and the next of column `row`, b[1] 8 rows further down;
// d[0], d[1] row, d[2], d[3] row + 8.
__device__ __forceinline__ void multiply_add(float (&d)[4], const unsigned (&a)[4],
                                             const unsigned (&b)[2], float16) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void multiply_add(float (&d)[4], const unsigned (&a)[4],
                                             const unsigned (&b)[2], bfloat16) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// A float rounded to TF32 (10 bits of fraction), to nearest, ties away from zero.
__device__ __forceinline__ unsigned tf32_of(float v) {
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(v));
  return bits;
}
// d += a b for a 16x8, b 8x8 in TF32, of whose 32 bits the last 13 are not looked at. With row =
// lane / 4 and column = lane % 4: a[0] row, a[1] row + 8, a[2] row and column + 4, a[3] both;
// b[0] row `column` of column `row`, b[1] 4 rows further down; d as above.
__device__ __forceinline__ void multiply_add_tf32(float (&d)[4], const unsigned (&a)[4],
                                                  const unsigned (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#endif
