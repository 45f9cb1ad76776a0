// The same layer in NumPy: windows as a strided view, one einsum; or stamps that are added up.
import { isPool } from "../engine/problem.js";
import { effectiveKernel } from "../engine/window.js";
import { arrays, isSmall } from "./torch.js";

const VIEW = "np.lib.stride_tricks.sliding_window_view";
const extents = (p) => [0, 1].map((a) => effectiveKernel(p.kernel[a], p.dilation[a]));
const slices = ({ stride: s, dilation: d }) => `[:, :, ::${s[0]}, ::${s[1]}, ::${d[0]}, ::${d[1]}]`;

function convLines(p) {
  const [eh, ew] = extents(p);
  const [ph, pw] = p.padding;
  const each = p.k / p.groups;
  const bias = p.bias ? " + b[:, None, None]" : "";
  const product =
    p.groups === 1
      ? [`y = np.einsum("nchwrs,kcrs->nkhw", v, w)${bias}`]
      : [
          `v = v.reshape(${p.n}, ${p.groups}, ${p.perGroup}, *v.shape[2:])`,
          `u = w.reshape(${p.groups}, ${each}, ${p.perGroup}, *w.shape[2:])`,
          `y = np.einsum("ngchwrs,gkcrs->ngkhw", v, u)`,
          `y = y.reshape(${p.n}, ${p.k}, ${p.out.join(", ")})${bias}`,
        ];
  return [
    `xp = np.pad(x, ((0, 0), (0, 0), (${ph}, ${ph}), (${pw}, ${pw})))`,
    `v = ${VIEW}(xp, (${eh}, ${ew}), axis=(2, 3))`,
    `v = v${slices(p)}  # (N, C, OH, OW, KH, KW)`,
    ...product,
  ];
}

function transposedLines(p) {
  const [h, w] = p.size;
  const [sh, sw] = p.stride;
  const [dh, dw] = p.dilation;
  const each = p.k / p.groups;
  const full = [0, 1].map((a) => (p.size[a] - 1) * p.stride[a] + extents(p)[a] + p.extra[a]);
  const span = (tap, d, size, s) =>
    `slice(${tap} * ${d}, ${tap} * ${d} + ${(size - 1) * s + 1}, ${s})`;
  const [[ph, oh], [pw, ow]] = [0, 1].map((a) => [p.padding[a], p.padding[a] + p.out[a]]);
  return [
    `y = np.zeros((${p.n}, ${p.groups}, ${each}, ${full.join(", ")}))`,
    `v = x.reshape(${p.n}, ${p.groups}, ${p.perGroup}, ${h}, ${w})`,
    `u = w.reshape(${p.groups}, ${p.perGroup}, ${each}, ${p.kernel.join(", ")})`,
    `for r in range(${p.kernel[0]}):`,
    `    for s in range(${p.kernel[1]}):  # one tap of every stamp at once`,
    `        rows = ${span("r", dh, h, sh)}`,
    `        columns = ${span("s", dw, w, sw)}`,
    `        y[..., rows, columns] += np.einsum("ngchw,gck->ngkhw", v, u[..., r, s])`,
    `y = y.reshape(${p.n}, ${p.k}, ${full.join(", ")})`,
    `y = y[:, :, ${ph}:${oh}, ${pw}:${ow}]${p.bias ? " + b[:, None, None]" : ""}`,
  ];
}

function poolLines(p) {
  const [eh, ew] = extents(p);
  const beyond = p.over.map((v) => Math.max(0, -v));
  const pads = (more) =>
    `((0, 0), (0, 0), (${p.padding[0]}, ${p.padding[0] + more[0]}), ` +
    `(${p.padding[1]}, ${p.padding[1] + more[1]}))`;
  const windows = (of) =>
    `${VIEW}(${of}, (${eh}, ${ew}), axis=(2, 3))${slices(p)}` +
    `[:, :, :${p.out[0]}, :${p.out[1]}]`;
  if (p.op === "max")
    return [
      `xp = np.pad(x, ${pads(beyond)}, constant_values=-np.inf)`,
      `y = ${windows("xp")}.max((4, 5))`,
    ];
  const ones = p.countPad
    ? `np.ones(x.shape), ${pads([0, 0])}, constant_values=1`
    : `np.ones(x.shape), ${pads([0, 0])}`;
  return [
    `xp = np.pad(x, ${pads(beyond)})`,
    `cells = np.pad(${ones})`,
    ...(Math.max(...beyond)
      ? [`cells = np.pad(cells, ((0, 0), (0, 0), (0, ${beyond[0]}), (0, ${beyond[1]})))`]
      : []),
    `y = ${windows("xp")}.sum((4, 5)) / ${windows("cells")}.sum((4, 5))`,
  ];
}

/** The layer as NumPy code. */
export function numpyCode(context, value) {
  const { problem: p, at } = context;
  const body = isPool(p) ? poolLines(p) : p.op === "transposed" ? transposedLines(p) : convLines(p);
  const lines = [
    "import numpy as np",
    "",
    ...arrays(
      context,
      (list) => `np.array(${list}, float)`,
      (shape) => `np.random.standard_normal((${shape.join(", ")}))`,
    ),
    ...body,
    `print(y.shape)  # (${[p.n, p.channels, ...p.out].join(", ")})`,
  ];
  if (isSmall(p)) lines.push(`print(y[${Object.values(at).join(", ")}])  # ${value}`);
  return lines;
}
