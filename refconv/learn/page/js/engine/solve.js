// The wanted size is known: which padding gives it?
import { effectiveKernel, outSize, transposedOutSize } from "./window.js";

/** Symmetric paddings for which `size` becomes `wanted`; for none, the asymmetric total if any. */
export function paddingsFor(op, size, wanted, kernel, stride, dilation, extra = 0, ceil = false) {
  const most =
    op === "max" || op === "avg" ? Math.floor(kernel / 2) : size + wanted * stride + kernel;
  const found = [];
  for (let p = 0; p <= most; p++) {
    const out =
      op === "transposed"
        ? transposedOutSize(size, kernel, stride, p, extra, dilation)
        : outSize(size, kernel, stride, p, dilation, ceil);
    if (out === wanted) found.push(p);
  }
  if (found.length || op !== "conv") return { paddings: found, total: null };
  // Total padding t: floor((size + t - extent) / stride) + 1 = wanted, the least such t >= 0.
  const total = (wanted - 1) * stride + effectiveKernel(kernel, dilation) - size;
  return { paddings: [], total: total >= 0 ? total : null };
}
