// Inside one output number: its terms, in the order of kernels/naive. And the way back: which
// outputs an input cell takes part in.
import { isPool } from "./problem.js";
import { averagedExtent, readers } from "./window.js";

/** Weight coordinates [a, b] of output channel k and channel-in-group ic (conv: w[k, ic]). */
export function weightAt(p, k, ic) {
  if (p.op !== "transposed") return [k, ic];
  return [Math.floor(k / (p.k / p.groups)) * p.perGroup + ic, k % (p.k / p.groups)];
}

/** First input channel that output channel k reads. */
export function firstChannel(p, k) {
  return isPool(p) ? k : Math.floor(k / (p.k / p.groups)) * p.perGroup;
}

/** Input position of tap r for output o on axis a; null where a transposed stamp has no cell. */
function source(p, o, r, a) {
  if (p.op !== "transposed") return o * p.stride[a] - p.padding[a] + r * p.dilation[a];
  const reach = o + p.padding[a] - r * p.dilation[a];
  return reach % p.stride[a] === 0 ? reach / p.stride[a] : null;
}

/** The terms of y[n, k, oh, ow]: one a channel and tap, those outside the image included. */
export function termsOf(p, data, at) {
  const { n, k, i: oh, j: ow } = at;
  const first = firstChannel(p, k);
  const terms = [];
  for (let ic = 0; ic < p.perGroup; ic++)
    for (let r = 0; r < p.kernel[0]; r++)
      for (let s = 0; s < p.kernel[1]; s++) {
        const i = source(p, oh, r, 0);
        const j = source(p, ow, s, 1);
        const gap = i === null || j === null;
        const inside = !gap && i >= 0 && j >= 0 && i < p.size[0] && j < p.size[1];
        const term = { t: terms.length, ic, c: first + ic, r, s, i, j, gap, inside };
        term.x = inside ? data.x(n, first + ic, i, j) : 0;
        if (!isPool(p)) {
          term.at = weightAt(p, k, ic);
          term.w = data.w(...term.at, r, s);
          term.product = inside ? term.x * term.w : 0;
        }
        terms.push(term);
      }
  return terms;
}

/** Cells that an average is divided by: padding counts, what ceil_mode adds beyond it does not. */
export function divisorOf(p, at) {
  return [at.i, at.j].reduce(
    (all, o, a) =>
      all * averagedExtent(o, p.size[a], p.kernel[a], p.stride[a], p.padding[a], p.countPad),
    1,
  );
}

/** Sums of the terms, step by step: {value, sum, sums (a channel), winner, divisor}. */
export function resultOf(p, data, at, terms) {
  const sums = Array(p.perGroup).fill(0);
  if (p.op === "max") {
    const seen = terms.filter((term) => term.inside);
    const winner = seen.reduce((best, term) => (best && best.x >= term.x ? best : term), null);
    return { value: winner ? winner.x : -Infinity, winner, sums, sum: 0, bias: 0 };
  }
  if (p.op === "avg") {
    const sum = terms.reduce((total, term) => total + term.x, 0);
    const divisor = divisorOf(p, at);
    const some = terms.some((term) => term.inside);
    return { value: some ? sum / divisor : 0, sum, divisor, sums, bias: 0 };
  }
  for (const term of terms) sums[term.ic] += term.product;
  const sum = sums.reduce((a, b) => a + b, 0);
  const bias = p.bias ? data.b(at.k) : 0;
  return { value: sum + bias, sum, sums, bias };
}

/** y[n, k, oh, ow]. */
export function valueOf(p, data, at) {
  return resultOf(p, data, at, termsOf(p, data, at)).value;
}

/** The same with each kernel turned by 180°: what mathematics calls convolution. */
export function flippedValueOf(p, data, at) {
  const [kh, kw] = p.kernel;
  const turned = { ...data, w: (a, b, r, s) => data.w(a, b, kh - 1 - r, kw - 1 - s) };
  return valueOf(p, turned, at);
}

/** Outputs that read input cell (c, i, j): {rows, columns, first, channels}. */
export function readersOf(p, c, i, j) {
  const along = (at, a) =>
    p.op === "transposed"
      ? Array.from(
          { length: p.kernel[a] },
          (_, r) => at * p.stride[a] - p.padding[a] + r * p.dilation[a],
        ).filter((o) => o >= 0 && o < p.out[a])
      : readers(at, p.out[a], p.kernel[a], p.stride[a], p.padding[a], p.dilation[a]);
  const rows = along(i, 0);
  const columns = along(j, 1);
  if (isPool(p)) return { rows, columns, first: c, channels: 1 };
  const group = Math.floor(c / p.perGroup);
  const each = p.k / p.groups;
  return { rows, columns, first: group * each, channels: each };
}
