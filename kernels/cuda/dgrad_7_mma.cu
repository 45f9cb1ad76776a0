// dgrad_7_mma.cu — step 7 of the input's gradient, which is also transposed convolution: the tile of
// conv_7_mma.cu, once for every phase of the stride.
//
// Positions i of dx with the same (i + padding) mod stride, in every axis, meet the same taps: every
// step-th one, step = stride / gcd(stride, dilation), beginning with the first that fits. So a phase
// is a convolution of stride 1 with the taps that fit, walked backwards over dy; the plan launches
// one for each phase, and no zero between strided rows is multiplied. dx is written in place, rows
// `stride` apart. What is summed over is (tap, output channel): w is turned round by
// pack_channels.cu, into rows of one input channel. A phase without taps writes the bias, or 0.
//
// Predicted: as fprop of the same layer. With stride 2 there are 4 launches, of 9 taps 4, 2, 2 and
// 1; the smaller ones are a few microseconds each and do not fill the GPU at small batches. dy is
// read once a tap that fits, from L2 but for the first time. Occupancy is conv_7_mma.cu's.
// Measured: not yet on a GPU.
// Still slow: one launch a phase; rows of dx are written with gaps, which the next phase fills.
//
// Macros: those of igemm.cuh, and TERMS of fragments.cuh.
#include "igemm.cuh"

extern "C" __global__ void __launch_bounds__(WARPS_M * WARPS_N * 32, BLOCKS)
conv_dgrad_mma(element *x, const element *y, const element *w, const element *b, const Gemm g) {
  igemm_tile(x, y, w, b, g);
}
