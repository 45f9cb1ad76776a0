// geometry.cuh — a convolution as kernels see it, passed by value: sizes, numbers, strides.
//
// Always three spatial axes, D H W; 1-D and 2-D have leading ones. Packed in this order by
// refconv's plan functions. Strides are in elements, so NCHW, channels_last and any other view are
// the same to a kernel.
#pragma once
#include "types.cuh"

struct ConvGeometry {
  int N, C, K, groups;
  int ID, IH, IW;
  int OD, OH, OW;
  int KD, KH, KW;
  int stride_d, stride_h, stride_w;
  int padding_d, padding_h, padding_w;  // the low side; may be negative
  int dilation_d, dilation_h, dilation_w;
  offset x_n, x_c, x_d, x_h, x_w;
  offset y_n, y_k, y_d, y_h, y_w;
  offset w_k, w_c, w_d, w_h, w_w;
  offset b_k;
};

static_assert(sizeof(ConvGeometry) == 22 * 4 + 16 * sizeof(offset), "as packed by the plan functions");

// The first tap k of an axis for which position `start + k * dilation` is not before the input.
__device__ __forceinline__ int first_inside(int start, int dilation) {
  return start >= 0 ? 0 : (-start + dilation - 1) / dilation;
}

// One behind the last tap, of at most K, that is not behind an input of this size.
__device__ __forceinline__ int last_inside(int start, int dilation, int size, int K) {
  if (start >= size) return 0;
  const int count = (size - 1 - start) / dilation + 1;
  return count < K ? count : K;
}
