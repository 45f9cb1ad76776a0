// bgrad_1_direct.cu — the bias's gradient: one block sums one channel of dy.
//
// As wgrad_1_direct.cu, with nothing to multiply: threads take positions in turn, then add up their
// sums in a tree. The same bits every time.
//
// Predicted: dy is read once, coalesced in NCHW: bound by memory where there are channels enough to
// fill the GPU (one block each); one addition an element. Full occupancy: 22 registers.
// Measured: not yet on a GPU.
// Still slow: few channels leave most of a GPU idle; in channels_last lanes read K apart.
#include "geometry.cuh"
#include "reduce.cuh"

constexpr int THREADS = 256;

extern "C" __global__ void __launch_bounds__(THREADS)
conv_bgrad_direct(element *b, const element *y, const ConvGeometry g) {
  __shared__ accumulator partial[THREADS];
  const int oc = blockIdx.x;
  const unsigned positions = g.OD * g.OH * g.OW;
  accumulator sum = 0;
  for (int n = 0; n < g.N; n++)
    for (unsigned o = threadIdx.x; o < positions; o += THREADS) {
      const int ow = o % g.OW, oh = o / g.OW % g.OH, od = o / g.OW / g.OH;
      sum += load(y + n * g.y_n + oc * g.y_k + od * g.y_d + oh * g.y_h + ow * g.y_w);
    }
  sum = block_sum<THREADS>(sum, partial);
  if (threadIdx.x == 0) store(b + oc * g.b_k, sum);
}
