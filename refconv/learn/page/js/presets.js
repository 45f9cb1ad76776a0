// The nets one can start from, as chains of layers with their shapes.
import { PRESETS } from "./given.js";
import { fields } from "./engine/receptive.js";
import { isPool, problemOf } from "./engine/problem.js";

const both = (value) => (Array.isArray(value) ? value : [value, value]);
const NAMED = {
  conv: "Conv2d",
  transposed: "ConvTranspose2d",
  max: "max_pool2d",
  avg: "avg_pool2d",
};

export const WINDOWED = ["conv", "transposed", "max", "avg"];

/** A full set of settings from a short description of a layer and its input's shape. */
export function settingsOf(layer, [n, c, h, w]) {
  return {
    op: layer.op,
    n,
    c,
    h,
    w,
    k: layer.k ?? c,
    kernel: both(layer.kernel),
    stride: both(layer.stride ?? 1),
    padding: both(layer.padding ?? 0),
    dilation: both(layer.dilation ?? 1),
    groups: layer.groups ?? 1,
    extra: both(layer.extra ?? 0),
    ceil: layer.ceil ?? false,
    bias: layer.bias ?? true,
    countPad: true,
  };
}

/** How torch's constructor is written, short. */
export function shortName(layer) {
  if (layer.op === "same") return layer.name;
  if (!WINDOWED.includes(layer.op)) return layer.op;
  const s = layer.settings;
  const plain = (v) => (v[0] === v[1] ? v[0] : `(${v})`);
  const words = isPool(s) ? [plain(s.kernel)] : [s.c, s.k, plain(s.kernel)];
  if (isPool(s) ? String(s.stride) !== String(s.kernel) : Math.max(...s.stride) > 1)
    words.push(isPool(s) ? plain(s.stride) : `s${plain(s.stride)}`);
  if (Math.max(...s.padding)) words.push(`p${plain(s.padding)}`);
  if (Math.max(...s.dilation) > 1) words.push(`d${plain(s.dilation)}`);
  if (!isPool(s) && s.groups > 1) words.push(`g${s.groups}`);
  return `${NAMED[s.op]}(${words.join(",")})`;
}

/** The chain of a preset's layers: {op, settings, problem, input, output, params, field}. */
export function chainOf(preset) {
  let shape = preset.shape;
  const chain = preset.layers.map((layer) => {
    const made = { ...layer, input: shape, params: 0 };
    if (WINDOWED.includes(layer.op)) {
      made.settings = settingsOf(layer, shape);
      made.problem = problemOf(made.settings);
      made.output = [shape[0], made.problem.channels, ...made.problem.out];
      made.params = made.problem.params;
    } else if (layer.op === "flatten") {
      made.output = [shape[0], shape.slice(1).reduce((a, b) => a * b)];
    } else if (layer.op === "linear") {
      made.output = [shape[0], layer.k];
      made.params = shape[1] * layer.k + layer.k;
    } else made.output = shape;
    made.title = shortName(made);
    shape = made.output;
    return made;
  });
  return withFields(chain);
}

/** The chain of one layer that the user has set by hand. */
export function ownChain(settings) {
  const problem = problemOf(settings);
  if (problem.error) return [];
  const layer = {
    op: settings.op,
    settings,
    problem,
    input: [settings.n, settings.c, settings.h, settings.w],
    output: [settings.n, problem.channels, ...problem.out],
    params: problem.params,
  };
  return withFields([{ ...layer, title: shortName(layer) }]);
}

function withFields(chain) {
  const geometry = chain.map((layer) => layer.settings ?? {});
  const [rows, columns] = [0, 1].map((a) => fields(geometry, a));
  return chain.map((layer, i) => ({
    ...layer,
    field: layer.output.length === 4 ? [rows[i], columns[i]] : null,
  }));
}

export { PRESETS };
