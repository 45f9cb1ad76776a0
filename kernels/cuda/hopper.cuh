// hopper.cuh — barriers in shared memory and copies of tensors by the tensor memory accelerator, one
// function an instruction. sm_90 and newer. (Products by four warps: wgmma.cuh.)
//
// The emulator's bodies are in emulator/hopper.h. A Barrier counts arrivals, and bytes that are
// still to come; when both are complete its phase ends and the next one begins. The first phase has
// parity 0; who waits for parity 1 of a new barrier goes on at once.
//
// A TensorMap describes an array and a box of it; it is made on the host (_cuda_tensor_map.py) and
// passed as `const __grid_constant__ TensorMap`. Boxes arrive with rows of 128 bytes whose 16-byte
// chunks are exchanged: chunk ^ row % 8, as wgmma reads them.
#pragma once
#include "ptx.cuh"

using Barrier = unsigned long long;

#ifdef EMULATOR
#include "emulator/hopper.h"
#else

struct alignas(64) TensorMap { unsigned long long opaque[16]; };

// One thread begins a barrier, for so many arrivals a phase; the fence and a __syncthreads follow.
__device__ __forceinline__ void barrier_init(Barrier *b, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;"
               ::"r"(shared_address(b)), "r"(arrivals) : "memory");
}
__device__ __forceinline__ void barrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ __forceinline__ void barrier_arrive(Barrier *b) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(b)) : "memory");
}
// Arrives, and makes the phase wait for so many bytes that copies bring.
__device__ __forceinline__ void barrier_arrive_expect(Barrier *b, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
               ::"r"(shared_address(b)), "r"(bytes) : "memory");
}
// Until the phase of this parity has ended.
__device__ __forceinline__ void barrier_wait(Barrier *b, int parity) {
  unsigned done;
  do {
    asm volatile("{\n.reg .pred p;\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                 "selp.u32 %0, 1, 0, p;\n}"
                 : "=r"(done) : "r"(shared_address(b)), "r"(parity) : "memory");
  } while (!done);
}

// A box of an array of three axes from (c, i, j) on, innermost first; zeros outside.
__device__ __forceinline__ void copy_box(void *to, const TensorMap *map, int c, int i, int j,
                                         Barrier *b) {
  asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes"
               " [%0], [%1, {%2, %3, %4}], [%5];"
               ::"r"(shared_address(to)), "l"(map), "r"(c), "r"(i), "r"(j), "r"(shared_address(b))
               : "memory");
}
// Channels from c on of one tap for as many positions as the map says: the first at (n, h, w), the
// others as the windows go, row by row and image by image; zeros outside. The tap is the offset.
__device__ __forceinline__ void copy_windows(void *to, const TensorMap *map, int c, int w, int h,
                                             int n, int tap_w, int tap_h, Barrier *b) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes"
               " [%0], [%1, {%2, %3, %4, %5}], [%6], {%7, %8};"
               ::"r"(shared_address(to)), "l"(map), "r"(c), "r"(w), "r"(h), "r"(n),
               "r"(shared_address(b)), "h"(static_cast<unsigned short>(tap_w)),
               "h"(static_cast<unsigned short>(tap_h))
               : "memory");
}

#endif
