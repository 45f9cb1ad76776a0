// wgrad_1_direct.cu — step 1 of the weight's gradient: one block computes one weight.
//
// dw[oc, ic, k] sums dy * x over the whole batch, so one thread each would be too few threads, all
// with long loops. Here a block's threads take the positions of every image in turn, neighbouring
// threads neighbouring ow, and add up their sums in a tree in shared memory: no atomics, always the
// same order, the same bits. Positions whose tap lies outside x are skipped.
//
// Predicted: 2 loads for each multiply-add, coalesced in NCHW with stride 1; dy is read
// C / groups * KD * KH * KW times and x K / groups * KD * KH * KW times, mostly from L2.
// A tree of 7 barriers a weight; where a plane has less positions than the block threads, the rest
// idle. Full occupancy.
// Measured: not yet on a GPU.
// Still slow: nothing is used twice once loaded; small layers with few weights do not fill a GPU.
#include "geometry.cuh"
#include "reduce.cuh"

constexpr int THREADS = 128;

extern "C" __global__ void __launch_bounds__(THREADS)
conv_wgrad_direct(element *w, const element *y, const element *x, const ConvGeometry g) {
  __shared__ accumulator partial[THREADS];
  const int C = g.C / g.groups;
  unsigned at = blockIdx.x;
  const int kw = at % g.KW, kh = (at /= g.KW) % g.KH, kd = (at /= g.KH) % g.KD;
  const int ic = (at /= g.KD) % C, oc = at / C;
  const int c = oc / (g.K / g.groups) * C + ic;
  const int id0 = kd * g.dilation_d - g.padding_d, ih0 = kh * g.dilation_h - g.padding_h;
  const int iw0 = kw * g.dilation_w - g.padding_w;
  const unsigned positions = g.OD * g.OH * g.OW;

  accumulator sum = 0;
  for (int n = 0; n < g.N; n++) {
    const element *dy = y + n * g.y_n + oc * g.y_k;
    const element *in = x + n * g.x_n + c * g.x_c;
#pragma unroll 1
    for (unsigned o = threadIdx.x; o < positions; o += THREADS) {
      const int ow = o % g.OW, oh = o / g.OW % g.OH, od = o / g.OW / g.OH;
      const int id = id0 + od * g.stride_d, ih = ih0 + oh * g.stride_h, iw = iw0 + ow * g.stride_w;
      if (id < 0 || id >= g.ID || ih < 0 || ih >= g.IH || iw < 0 || iw >= g.IW) continue;
      sum += load(dy + od * g.y_d + oh * g.y_h + ow * g.y_w) *
             load(in + id * g.x_d + ih * g.x_h + iw * g.x_w);
    }
  }
  sum = block_sum<THREADS>(sum, partial);
  if (threadIdx.x == 0)
    store(w + oc * g.w_k + ic * g.w_c + kd * g.w_d + kh * g.w_h + kw * g.w_w, sum);
}
