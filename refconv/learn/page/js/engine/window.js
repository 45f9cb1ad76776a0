// One axis: where a window lands, how often, and what it sees. refconv/window.py in JavaScript;
// tests/page compares the two. Sizes are in elements.

/** Extent of a dilated kernel: dilation * (kernel - 1) + 1. */
export function effectiveKernel(kernel, dilation = 1) {
  return dilation * (kernel - 1) + 1;
}

/** Window positions: floor((size + 2*padding - extent) / stride) + 1; ceil_mode is pooling's. */
export function outSize(size, kernel, stride, padding, dilation = 1, ceil = false) {
  const room = size + 2 * padding - effectiveKernel(kernel, dilation);
  if (!ceil) return Math.floor(room / stride) + 1;
  const positions = Math.ceil(room / stride) + 1;
  // A window may not start in the padding behind the input.
  return (positions - 1) * stride >= size + padding ? positions - 1 : positions;
}

/** Size of a transposed convolution's output: the input of the convolution that it transposes. */
export function transposedOutSize(size, kernel, stride, padding, extra = 0, dilation = 1) {
  return (size - 1) * stride - 2 * padding + effectiveKernel(kernel, dilation) + extra;
}

/** Padded cells behind the last window: left over by the floor; negative, ceil_mode's excess. */
export function leftOver(size, kernel, stride, padding, dilation, out) {
  return size + 2 * padding - ((out - 1) * stride + effectiveKernel(kernel, dilation));
}

/** Input positions of window o, one a tap, whether or not they lie inside. */
export function taps(o, kernel, stride, padding, dilation = 1) {
  return Array.from({ length: kernel }, (_, k) => o * stride - padding + k * dilation);
}

/** Windows of 0 … out-1 that have a tap at input position i. */
export function readers(i, out, kernel, stride, padding, dilation = 1) {
  const found = [];
  for (let k = 0; k < kernel; k++) {
    const reach = i + padding - k * dilation;
    if (reach >= 0 && reach % stride === 0 && reach / stride < out) found.push(reach / stride);
  }
  return found.sort((a, b) => a - b);
}

/** Cells that average window o divides by, on this axis: padding counts, beyond it does not. */
export function averagedExtent(o, size, kernel, stride, padding, countPad = true) {
  const first = o * stride - padding;
  const last = Math.min(first + kernel, size + padding);
  return countPad ? last - first : Math.min(last, size) - Math.max(first, 0);
}

/** Zeros [low, high] that keep the size at stride 1; the odd one goes behind (torch's rule). */
export function samePadding(kernel, dilation = 1) {
  const total = dilation * (kernel - 1);
  return [Math.floor(total / 2), total - Math.floor(total / 2)];
}
