// dgrad_5_depthwise_last.cu — dgrad_5_depthwise.cu in channels_last: conv_5_depthwise_last.cu with the
// window turned round (unslide.cuh).
//
// Predicted, with stride 1: as conv_5_depthwise_last.cu, dy read and dx written once for 144
// multiply-adds a thread. A part is as many rows as the stride, so that its phase is known. 71
// registers: 3 blocks of 8 warps, 24 of 64. Measured: not yet on a GPU.
// Still slow: as conv_5_depthwise_last.cu.
//
// Macros: those of unslide.cuh and channels.cuh.
#include "channels.cuh"
#include "unslide.cuh"

#include "depthwise_last.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv_dgrad_depthwise_last(element *x, const element *y, const element *w, const element *b,
                          const ConvGeometry g) {
  __shared__ __align__(16) accumulator weights[TAPS_H * TAPS_W * BLOCK_C];
  depthwise(x, side_x(g), y, side_y(g), w, b, g, weights);
}
