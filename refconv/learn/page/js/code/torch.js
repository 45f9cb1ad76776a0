// The layer as torch code: with its numbers where they are few, so that it prints the same value.
import { isPool } from "../engine/problem.js";

export const MOST_NUMBERS = 400;

/** A value for two axes as Python writes it: 3, or (3, 5). */
export const bothAxes = (v) => (v[0] === v[1] ? `${v[0]}` : `(${v[0]}, ${v[1]})`);

/** A nested list of an array given by its shape and what stands at each place: a line a plane. */
function nested(shape, at, depth = 1) {
  if (!shape.length) return String(at());
  const [count, ...rest] = shape;
  const parts = Array.from({ length: count }, (_, i) =>
    nested(rest, (...more) => at(i, ...more), depth + 1),
  );
  if (rest.length < 2) return `[${parts.join(", ")}]`;
  const line = `\n${"    ".repeat(depth)}`;
  return `[${line}${parts.join(`,${line}`)},\n${"    ".repeat(depth - 1)}]`;
}

/** Whether all of the layer's numbers are few enough to be written out. */
export function isSmall(p) {
  return p.n * p.c * p.size[0] * p.size[1] + p.weights <= MOST_NUMBERS;
}

/** Keyword arguments that differ from torch's defaults. */
function options(p) {
  const words = [];
  if (isPool(p) ? String(p.stride) !== String(p.kernel) : Math.max(...p.stride) > 1)
    words.push(`stride=${bothAxes(p.stride)}`);
  if (Math.max(...p.padding)) words.push(`padding=${bothAxes(p.padding)}`);
  if (Math.max(...p.extra) && p.op === "transposed")
    words.push(`output_padding=${bothAxes(p.extra)}`);
  if (Math.max(...p.dilation) > 1) words.push(`dilation=${bothAxes(p.dilation)}`);
  if (p.groups > 1 && !isPool(p)) words.push(`groups=${p.groups}`);
  if (isPool(p) && p.ceil) words.push("ceil_mode=True");
  if (p.op === "avg" && !p.countPad) words.push("count_include_pad=False");
  return words;
}

/** Lines that make x, and w and b; `make` and `random` write a library's call. */
export function arrays({ problem: p, data }, make, random) {
  const wanted = [["x", [p.n, p.c, ...p.size], data.x]];
  if (!isPool(p)) wanted.push(["w", p.weightShape, data.w]);
  if (!isPool(p) && p.bias) wanted.push(["b", [p.k], data.b]);
  return wanted.flatMap(([name, shape, at]) =>
    `${name} = ${isSmall(p) ? make(nested(shape, at)) : random(shape)}`.split("\n"),
  );
}

/** The layer as torch code. */
export function torchCode(context, value) {
  const { problem: p, at } = context;
  const name = {
    conv: "conv2d",
    transposed: "conv_transpose2d",
    max: "max_pool2d",
    avg: "avg_pool2d",
  }[p.op];
  const given = isPool(p) ? ["x", bothAxes(p.kernel)] : p.bias ? ["x", "w", "b"] : ["x", "w"];
  const lines = [
    "import torch",
    "import torch.nn.functional as F",
    "",
    ...arrays(
      context,
      (list) => `torch.tensor(${list}, dtype=torch.float32)`,
      (shape) => `torch.randn(${shape.join(", ")})`,
    ),
    `y = F.${name}(${[...given, ...options(p)].join(", ")})`,
    `print(tuple(y.shape))  # (${[p.n, p.channels, ...p.out].join(", ")})`,
  ];
  if (isSmall(p)) lines.push(`print(y[${Object.values(at).join(", ")}].item())  # ${value}`);
  return lines;
}
