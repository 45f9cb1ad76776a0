// conv_7_mma.cu — step 7: implicit GEMM on tensor cores, mma.sync fed by asynchronous copies. 16 bits
// (igemm_mma), TF32 (igemm_tf32) and floats split into three TF32 products (igemm_tf32x3).
//
// It adds to the register tile of the steps before: products by a warp, 16x8x16 a time; tiles of
// 64 bytes of depth, of which STAGES - 1 are under way by cp.async while one is multiplied, with
// one barrier a tile; ldmatrix from swizzled rows, free of bank conflicts. How: igemm.cuh.
// x and w are read as they are where channels are neighbours in memory (channels_last) in whole
// groups of 16 bytes; else the plan launches pack_channels.cu for them, into a workspace.
//
// Predicted, ResNet-50 3x3 64 -> 64 at 56x56, N = 256, bf16, 128x64 tiles: 59 GFLOP; x 103 MB read
// 9 times, 8 of them from L2, y 103 MB written: 48 us of memory. A block's step multiplies
// 128 * 64 * 32 and loads 12 KiB for it: 43 FLOP a byte from L2. mma.sync reaches about 60% of what
// wgmma does on an H200: about 120 us. 4 warps of 64x32, 64 sums a thread, at most 168 registers:
// 3 blocks, 12 warps of 64. tf32x3 at a third of TF32's rate: 6 times bf16's time.
// Measured: not yet on a GPU.
// Still slow: mma.sync holds operands in registers and stalls on its loads; the address arithmetic
// of every copy is done by the warps that multiply; blocks of the last wave idle. Next: wgmma and
// copies by the tensor memory accelerator.
//
// Macros: those of igemm.cuh, and TERMS of fragments.cuh.
#include "igemm.cuh"

extern "C" __global__ void __launch_bounds__(WARPS_M * WARPS_N * 32, BLOCKS)
conv_fprop_mma(element *y, const element *x, const element *w, const element *b, const Gemm g) {
  igemm_tile(y, x, w, b, g);
}
