// conv_5_depthwise.cu — depthwise convolution, one input channel a group, 1-D and 2-D, in NCHW: at
// the speed of memory, since each element of x is used TAPS_H * TAPS_W times at most. (channels_last:
// conv_5_depthwise_last.cu.)
//
// What it adds to a direct step is reuse twice over. A block loads its part of a plane, or of several
// small ones, into shared memory, coalesced whatever the alignment of rows. A thread owns 4 outputs
// in each of ROWS rows, and its weights, in registers; it reads each row of its part once, 16 bytes at
// a time, for all its outputs that the row meets. Kernel, stride and dilation are macros, so all of
// that is written out by the compiler. 4 outputs are stored at once where rows are aligned.
// Padding is multiplied as 0, except where a weight is infinite or NaN: there elements are computed
// one by one, as conv_1_direct.cu does.
//
// Predicted, 3x3 C256@56 in float, N = 256: x read and y written once, 1.64 GB: 382 us at 4.3 TB/s
// (bfloat16: 191). Block: 14 x 14 threads for a plane; tile 58 x 60, halo 8 %. An output is 9
// multiply-adds, 2.3 loads from shared memory in vectors, and 1.1 of filling it: 2.4 outputs are due a
// cycle and multiprocessor, 22 of its 128 multiply-adds. 14 KiB a block and at most 64 registers: 4
// to 5 blocks of 7 warps. 7x7 C192: 49 multiply-adds an output, near all of them in bfloat16, where
// arithmetic is the limit. Measured: not yet on a GPU.
// Still slow: a block loads, then computes; a channel multiplier loads x again for each output
// channel (from L2); halves are widened when they are stored to shared memory.
//
// Macros: those of slide.cuh and planes.cuh. Dynamic shared memory: the tile.
#include "planes.cuh"
#include "slide.cuh"

#include "depthwise.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv_fprop_depthwise(element *y, const element *x, const element *w, const element *b,
                     const ConvGeometry g) {
  DYN_SHARED(accumulator, tile);
  __shared__ int64 planes[PLANES];
  const auto exact = [&](int n, int oc, int oh, int ow) {
    const int ih = oh * STRIDE_H - g.padding_h, iw = ow * STRIDE_W - g.padding_w;
    const element *plane = x + n * g.x_n + oc / (g.K / g.C) * g.x_c;
    accumulator sum = 0;
#pragma unroll 1
    for (int kh = first_inside(ih, DILATION_H); kh < last_inside(ih, DILATION_H, g.IH, TAPS_H); kh++)
#pragma unroll 1
      for (int kw = first_inside(iw, DILATION_W); kw < last_inside(iw, DILATION_W, g.IW, TAPS_W); kw++)
        sum += load(plane + (ih + kh * DILATION_H) * g.x_h + (iw + kw * DILATION_W) * g.x_w) *
               load(w + oc * g.w_k + kh * g.w_h + kw * g.w_w);
    return sum;
  };
  depthwise<false>(y, side_y(g), x, side_x(g), w, b, g, tile, planes, exact);
}
