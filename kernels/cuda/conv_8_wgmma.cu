// conv_8_wgmma.cu — step 8: the product of step 7 by warpgroups (wgmma), its tiles brought by the
// tensor memory accelerator. Hopper only. 16 bits; 1-D and 2-D; fprop, and dgrad as in step 7: a
// launch for each phase of the stride, over taps that are walked backwards.
//
// It adds: operands stay in shared memory, one instruction multiplies 64 x BLOCK_N x 16 and runs on
// its own; the accelerator walks over windows itself (im2col mode), strides, padding and dilation
// included, so no thread computes an address; and roles: the last warp starts copies as soon as a
// stage is free, eight warps multiply as soon as one is full, with two barriers a stage instead of
// the block's. x and w are read as they are in channels_last; else pack_channels.cu packs them.
// A tile's depth is 64 channels of one tap: what is beyond the group's channels is zero in w.
//
// Predicted, ResNet-50 3x3 256 -> 256 at 14x14, N = 256, bf16, 128x256 tiles: 59 GFLOP in 392 blocks,
// 2.97 waves of 132; a step of 64 loads 48 KiB for 4.2 MFLOP: 85 FLOP a byte from L2. At 600 TFLOP/s
// 100 us. One block a multiprocessor, 9 warps of 64: 128 sums a thread, 192 KiB of stages.
// Measured: not yet on a GPU.
// Still slow: the epilogue waits for the last product and the next block for the epilogue (no
// persistent blocks); clusters could share tiles of w; 64 channels a tap are needed to fill a step.
//
// Macros: STAGES, BLOCK_N (64, 128 or 256) and Y_LAST of igemm_result.cuh; BLOCK_M is 128. Dynamic
// shared memory: wgmma_bytes of the plan.
#include "hopper.cuh"
#include "igemm_result.cuh"
#include "wgmma.cuh"

#ifndef STAGES
#define STAGES 4
#endif

constexpr int DEPTH = 64;                          // elements of a row of a tile: 128 bytes
constexpr int TILE = (BLOCK_M + BLOCK_N) * DEPTH;  // of a stage
constexpr int CONSUMERS = BLOCK_M / 16;            // warps that multiply
static_assert(BLOCK_M == 128 && sizeof(element) == 2, "two warpgroups of 64 rows; 16 bits");

struct Ring {
  Barrier *full, *empty;
};

// One thread: copies tiles in order, each as soon as its stage is free.
__device__ __forceinline__ void produce(element *tiles, const Ring &ring, const TensorMap *x,
                                        const TensorMap *w, const Gemm &g, unsigned m0, int group,
                                        int n0) {
  const Position p = position_of(m0, g);
  // The accelerator adds only offsets of 0 and more: where taps go back, a window begins at the last.
  const int back_h = min(0, (g.TH - 1) * g.hop_h), back_w = min(0, (g.TW - 1) * g.hop_w);
  const int h = p.h * g.step_h + g.start_h + back_h, v = p.w * g.step_w + g.start_w + back_w;
  int s = 0;
  for (int th = 0; th < g.TH; th++)
    for (int tw = 0; tw < g.TW; tw++) {
      const int tap = int((g.w_first + th * g.w_h + tw * g.w_w) / g.channels);
#pragma unroll 1
      for (int c = 0; c < g.channels; c += DEPTH, s++) {
        const int stage = s % STAGES;
        element *tile = tiles + stage * TILE;
        barrier_wait(ring.empty + stage, (s / STAGES + 1) % 2);
        barrier_arrive_expect(ring.full + stage, TILE * int(sizeof(element)));
        copy_windows(tile, x, group * g.channels + c, v, h, p.n, tw * g.hop_w - back_w,
                     th * g.hop_h - back_h, ring.full + stage);
        copy_box(tile + BLOCK_M * DEPTH, w, c, tap, group * g.columns + n0, ring.full + stage);
      }
    }
}

// Two warpgroups: each multiplies its 64 rows; a stage is given back when the product after it has
// been started and its own is done.
__device__ __forceinline__ void consume(float (&sum)[BLOCK_N / 2], const element *tiles,
                                        const Ring &ring, const Gemm &g) {
  const int rows = threadIdx.x / 128 * 64;
  const int steps = g.TH * g.TW * ((g.channels - 1) / DEPTH + 1);
#pragma unroll 1
  for (int s = 0; s < steps; s++) {
    const int stage = s % STAGES;
    const element *left = tiles + stage * TILE + rows * DEPTH;
    const element *right = tiles + stage * TILE + BLOCK_M * DEPTH;
    barrier_wait(ring.full + stage, s / STAGES % 2);
    warpgroup_fence();
#pragma unroll
    for (int k = 0; k < DEPTH; k += 16)
      warpgroup_multiply_add(sum, tile_of(left + k), tile_of(right + k), element{});
    warpgroup_commit();
    warpgroup_wait<1>(sum);
    if (s > 0 && threadIdx.x % 32 == 0) barrier_arrive(ring.empty + (s - 1) % STAGES);
  }
  warpgroup_wait<0>(sum);
}

extern "C" __global__ void __launch_bounds__(288, 1)
conv_wgmma(element *y, const element *x, const element *w, const element *b,
           const __grid_constant__ TensorMap x_map, const __grid_constant__ TensorMap w_map,
           const Gemm g) {
  DYN_SHARED(element, tiles);  // [STAGES][x: BLOCK_M, w: BLOCK_N][DEPTH]; at the end, of y
  __shared__ Barrier full[STAGES], empty[STAGES];
  const int parts = (g.columns - 1) / BLOCK_N + 1;
  unsigned at = blockIdx.x;
  const int n0 = at % parts * BLOCK_N, group = (at /= parts) % g.groups;
  const unsigned m0 = at / g.groups * BLOCK_M;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

  if (threadIdx.x == 0) {
    for (int s = 0; s < STAGES; s++) {
      barrier_init(full + s, 1);
      barrier_init(empty + s, CONSUMERS);
    }
    barrier_init_fence();
  }
  __syncthreads();  // the barriers are there
  float sum[BLOCK_N / 2] = {};
  const Ring ring{full, empty};
  if (warp < CONSUMERS) consume(sum, tiles, ring, g);
  else if (lane == 0) produce(tiles, ring, &x_map, &w_map, g, m0, group, n0);
  __syncthreads();  // all products are done: the stages are free

  bool odd = false;
  if (warp < CONSUMERS) {
#pragma unroll
    for (int i = 0; i < BLOCK_N / 2; i++) {
      const int m = warp * 16 + lane / 4 + i / 2 % 2 * 8;
      const int column = i / 4 * 8 + lane % 4 * 2 + i % 2, k = n0 + column;
      float v = sum[i];
      if (b && k < g.columns) v += load(b + (group * g.columns + k) * g.b_k);
      odd |= !is_finite(v);
      store(tiles + staged(m, column), is_finite(v) ? finished(v) : v);
    }
  }
  finish(y, x, w, b, g, tiles, m0, group, n0, odd);
}
