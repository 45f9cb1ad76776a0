// The settings of one layer → sizes, parameters, cost; or torch's refusal and how to mend it.
import { effectiveKernel, leftOver, outSize, readers, transposedOutSize } from "./window.js";

export const OPS = ["conv", "transposed", "max", "avg"];
export const isPool = (s) => s.op === "max" || s.op === "avg";
export const pair = (v) => `${v[0]} x ${v[1]}`;

/** A refusal: `code` names our words for the rule and the fix, `torch` is what torch says. */
function refusal(code, torch, field, numbers = {}) {
  return { code, torch, field, numbers };
}

const SINGLE = ["n", "c", "h", "w", "k", "groups"];
const DOUBLE = ["kernel", "stride", "padding", "dilation", "extra"];

/** The page draws and counts at once: torch takes more than this, a browser should not. */
const LIMIT = 4096;
const MOST_TERMS = 65536;

/** What is no whole number, or too small for any layer, whichever layer it is. */
function badNumber(s) {
  for (const name of [...SINGLE, ...DOUBLE])
    for (const value of [s[name]].flat())
      if (!Number.isInteger(value))
        return refusal("integer", `TypeError: ${name} must be int, got ${value}`, name, { value });
  for (const name of ["n", "c", "h", "w", "k"])
    if (s[name] < 1) return refusal("positive", "", name, { name, value: s[name] });
  for (const name of [...SINGLE, ...DOUBLE])
    if (Math.max(...[s[name]].flat()) > LIMIT)
      return refusal("page_limit", "", name, { name, most: LIMIT });
  const terms = s.c * Math.max(...s.kernel) ** 2;
  return terms > MOST_TERMS
    ? refusal("page_limit", "", "kernel", { name: "C·k·k", most: MOST_TERMS })
    : null;
}

/** Rules that need no size: signs, groups. Convolution and its transpose. */
function badConvNumber(s) {
  const list = (v) => `[${v[0]}, ${v[1]}]`;
  if (s.groups < 1)
    return refusal("groups_positive", "groups must be a positive integer", "groups");
  if (s.c % s.groups)
    return refusal("groups_in", "in_channels must be divisible by groups", "groups", {
      groups: s.groups,
      channels: s.c,
    });
  if (s.k % s.groups)
    return refusal("groups_out", "out_channels must be divisible by groups", "groups", {
      groups: s.groups,
      channels: s.k,
    });
  if (Math.min(...s.kernel) < 1)
    return refusal(
      "kernel_positive",
      "kernel size should be greater than zero, but got " +
        `kernel_height: ${s.kernel[0]} kernel_width: ${s.kernel[1]}`,
      "kernel",
    );
  if (Math.min(...s.stride) < 1)
    return refusal("stride_positive", "non-positive stride is not supported", "stride");
  if (Math.min(...s.padding) < 0)
    return refusal("padding_negative", "negative padding is not supported", "padding");
  if (Math.min(...s.dilation) < 1)
    return refusal(
      "dilation_positive",
      `dilation should be greater than zero, but got ${list(s.dilation)}`,
      "dilation",
    );
  return null;
}

function badConv(s, size) {
  const early = badConvNumber(s);
  if (early) return early;
  const extent = [0, 1].map((a) => effectiveKernel(s.kernel[a], s.dilation[a]));
  const padded = [0, 1].map((a) => size[a] + 2 * s.padding[a]);
  const axis = [0, 1].find((a) => padded[a] < extent[a]);
  if (axis === undefined) return null;
  const torch =
    `Calculated padded input size per channel: (${pair(padded)}). ` +
    `Kernel size: (${pair(extent)}). Kernel size can't be greater than actual input size`;
  const need = Math.ceil((extent[axis] - size[axis]) / 2);
  return refusal("kernel_large", torch, "kernel", {
    extent: extent[axis],
    padded: padded[axis],
    size: size[axis],
    need,
    axis: "HW"[axis],
  });
}

function badTransposed(s, size, out) {
  const early = badConvNumber(s);
  if (early) return early;
  const axis = [0, 1].find((a) => s.extra[a] >= Math.max(s.stride[a], s.dilation[a]));
  const [eh, ew] = s.extra;
  const [sh, sw] = s.stride;
  const [dh, dw] = s.dilation;
  if (Math.min(eh, ew) < 0)
    return refusal("extra_negative", "negative output_padding is not supported", "extra");
  if (axis !== undefined)
    return refusal(
      "extra_large",
      "output padding must be smaller than either stride or dilation, " +
        `but got output_padding_height: ${eh} output_padding_width: ${ew} stride_height: ${sh} ` +
        `stride_width: ${sw} dilation_height: ${dh} dilation_width: ${dw}`,
      "extra",
      { extra: s.extra[axis], most: Math.max(s.stride[axis], s.dilation[axis]) - 1 },
    );
  if (Math.min(...out) < 1) {
    const worst = out[0] < 1 ? 0 : 1;
    return refusal(
      "nothing_left",
      `Given input size per channel: (${pair(size)}). Calculated ` +
        `output size per channel: (${pair(out)}). Output size is too small`,
      "padding",
      { out: out[worst], most: s.padding[worst] - Math.ceil((1 - out[worst]) / 2) },
    );
  }
  return null;
}

function badPool(s, size, out) {
  if (Math.min(...s.kernel) < 1)
    return refusal(
      "kernel_positive",
      "kernel size should be greater than zero, but got " + `kH: ${s.kernel[0]} kW: ${s.kernel[1]}`,
      "kernel",
    );
  if (Math.min(...s.stride) < 1)
    return refusal("stride_positive", "stride should not be zero", "stride");
  if (Math.min(...s.dilation) < 1)
    return refusal(
      "dilation_positive",
      "dilation should be greater than zero, but got " +
        `dilationH: ${s.dilation[0]} dilationW: ${s.dilation[1]}`,
      "dilation",
    );
  const axis = [0, 1].find((a) => s.padding[a] > s.kernel[a] / 2);
  if (Math.min(...s.padding) < 0)
    return refusal(
      "padding_negative",
      `pad must be non-negative, but got pad: ${Math.min(...s.padding)}`,
      "padding",
    );
  if (axis !== undefined)
    return refusal(
      "padding_half",
      "pad should be at most half of effective kernel size, but got " +
        `pad=${s.padding[axis]}, kernel_size=${s.kernel[axis]} and dilation=${s.dilation[axis]}`,
      "padding",
      { padding: s.padding[axis], kernel: s.kernel[axis], most: Math.floor(s.kernel[axis] / 2) },
    );
  if (Math.min(...out) < 1)
    return refusal(
      "window_large",
      `Given input size: (${s.c}x${size[0]}x${size[1]}). Calculated ` +
        `output size: (${s.c}x${out[0]}x${out[1]}). Output size is too small`,
      "kernel",
      { size: size[out[0] < 1 ? 0 : 1] },
    );
  return null;
}

/** Products with an operand inside the image, as the naive loops count them; FLOPs are twice. */
function countMacs(s, large, small) {
  let count = 1;
  for (const a of [0, 1]) {
    let along = 0;
    for (let i = 0; i < large[a]; i++)
      along += readers(i, small[a], s.kernel[a], s.stride[a], s.padding[a], s.dilation[a]).length;
    count *= along;
  }
  return (count * s.n * s.c * s.k) / s.groups;
}

/** Everything that follows from the settings. `error` is null, or the refusal. */
export function problemOf(s) {
  const size = [s.h, s.w];
  const bad = badNumber(s);
  if (bad) return { ...s, size, error: bad };
  const out = [0, 1].map((a) =>
    s.op === "transposed"
      ? transposedOutSize(
          size[a],
          s.kernel[a],
          s.stride[a],
          s.padding[a],
          s.extra[a],
          s.dilation[a],
        )
      : outSize(
          size[a],
          s.kernel[a],
          s.stride[a],
          s.padding[a],
          s.op === "avg" ? 1 : s.dilation[a],
          isPool(s) && s.ceil,
        ),
  );
  const judge = { conv: badConv, transposed: badTransposed, max: badPool, avg: badPool }[s.op];
  const error = judge(s.op === "avg" ? { ...s, dilation: [1, 1] } : s, size, out);
  const channels = isPool(s) ? s.c : s.k;
  const problem = { ...s, size, out, channels, error };
  if (s.op === "avg") problem.dilation = [1, 1];
  if (error) return problem;
  const [first, second] = s.op === "transposed" ? [s.c, s.k] : [s.k, s.c];
  problem.weightShape = isPool(s) ? null : [first, second / s.groups, ...s.kernel];
  problem.perGroup = isPool(s) ? 1 : s.c / s.groups;
  problem.weights = isPool(s) ? 0 : problem.weightShape.reduce((a, b) => a * b);
  problem.params = isPool(s) ? 0 : problem.weights + (s.bias ? s.k : 0);
  // Every position of the window meets every weight; inside: products with a number of the image.
  const [image, positions] = s.op === "transposed" ? [out, size] : [size, out];
  problem.macs = s.n * positions[0] * positions[1] * problem.weights;
  problem.inside = isPool(s) ? 0 : countMacs(s, image, positions);
  problem.over = [0, 1].map((a) =>
    s.op === "transposed"
      ? 0
      : leftOver(size[a], s.kernel[a], s.stride[a], s.padding[a], problem.dilation[a], out[a]),
  );
  return problem;
}
