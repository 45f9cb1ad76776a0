// conv_1_direct.cu — step 1: one thread computes one output, from global memory alone.
//
// A thread walks over the input channels of its group and the taps of its window, and keeps one sum.
// Taps outside the input are skipped: the range of those inside is computed before the loops.
// Neighbouring threads are neighbouring ow: in NCHW a warp reads neighbouring x (every stride-th)
// and writes neighbouring y; all lanes read the same w.
//
// Predicted: 2 loads for each multiply-add, so it is bound by the load units, not by arithmetic.
// x is read KD*KH*KW*K/groups times and w N*OD*OH*OW times; the caches serve most of that, and DRAM
// traffic stays near one pass over x and y while a few rows of all channels fit L2. Occupancy is full.
// Measured: not yet on a GPU.
// Still slow: every operand is loaded again for each use. Next: conv_2_shared.cu.
#include "geometry.cuh"

extern "C" __global__ void __launch_bounds__(256, 4)
conv_fprop_direct(element *y, const element *x, const element *w, const element *b,
                  const ConvGeometry g) {
  const unsigned positions = g.OD * g.OH * g.OW;  // of a plane (n, oc), which has whole blocks
  const unsigned blocks = (positions - 1) / blockDim.x + 1;
  const unsigned plane = blockIdx.x / blocks;
  const unsigned at = blockIdx.x % blocks * blockDim.x + threadIdx.x;
  if (at >= positions) return;
  const int oc = plane % g.K, n = plane / g.K;
  const int ow = at % g.OW, oh = at / g.OW % g.OH, od = at / g.OW / g.OH;

  const int C = g.C / g.groups;            // input channels of a group
  const int first = oc / (g.K / g.groups) * C;
  const int id = od * g.stride_d - g.padding_d;
  const int ih = oh * g.stride_h - g.padding_h;
  const int iw = ow * g.stride_w - g.padding_w;
  const int kd0 = first_inside(id, g.dilation_d), kd1 = last_inside(id, g.dilation_d, g.ID, g.KD);
  const int kh0 = first_inside(ih, g.dilation_h), kh1 = last_inside(ih, g.dilation_h, g.IH, g.KH);
  const int kw0 = first_inside(iw, g.dilation_w), kw1 = last_inside(iw, g.dilation_w, g.IW, g.KW);

  accumulator sum = b ? load(b + oc * g.b_k) : 0;
  for (int ic = 0; ic < C; ic++)
    for (int kd = kd0; kd < kd1; kd++)
      for (int kh = kh0; kh < kh1; kh++) {
        const element *row = x + n * g.x_n + (first + ic) * g.x_c +
                             (id + kd * g.dilation_d) * g.x_d + (ih + kh * g.dilation_h) * g.x_h;
        const element *taps = w + oc * g.w_k + ic * g.w_c + kd * g.w_d + kh * g.w_h;
#pragma unroll 1  // unrolled, it needs so many registers that fewer warps fit
        for (int kw = kw0; kw < kw1; kw++)
          sum += load(row + (iw + kw * g.dilation_w) * g.x_w) * load(taps + kw * g.w_w);
      }
  store(y + n * g.y_n + oc * g.y_k + od * g.y_d + oh * g.y_h + ow * g.y_w, finished(sum));
}
