// conv_5_depthwise_last.cu — conv_5_depthwise.cu's idea in channels_last: a thread owns a vector of
// channels, of which it computes 4 outputs in a row; one output channel an input channel.
//
// A warp loads the vectors of 32 neighbours: 512 bytes in a row in float. x needs no shared memory:
// rows that several threads of the block read come from L1. The weights of the block's channels do:
// [tap][channel], so that a thread reads its channels' weights as a vector. What lies outside x is
// skipped, which all lanes of a warp do together.
//
// Predicted, 3x3 C256@56 in float, N = 256: as in NCHW 1.64 GB, 382 us at 4.3 TB/s, if rows come from
// L1: a thread loads 18 vectors for 4 outputs, 4.5 times x; 36 weights' vectors of shared memory for
// 144 multiply-adds, unless the compiler keeps them. 4.5 KiB a block, 69 registers: 3 blocks of 8
// warps, 24 of 64. Measured: not yet on a GPU.
// Still slow: parts of one row each share two thirds of what they load with the next.
//
// Macros: those of slide.cuh and channels.cuh.
#include "channels.cuh"
#include "slide.cuh"

#include "depthwise_last.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv_fprop_depthwise_last(element *y, const element *x, const element *w, const element *b,
                          const ConvGeometry g) {
  __shared__ __align__(16) accumulator weights[TAPS_H * TAPS_W * BLOCK_C];
  depthwise(y, side_y(g), x, side_x(g), w, b, g, weights);
}
