// What the page shows, in one plain object; `change` is the only way to alter it.
import { dataOf, turned } from "./engine/data.js";
import { problemOf } from "./engine/problem.js";
import { resultOf, termsOf } from "./engine/terms.js";
import { chainOf, ownChain, PRESETS, WINDOWED } from "./presets.js";

/** The numbers that describe a layer. */
export const NUMBERS = [
  "op",
  "n",
  "c",
  "h",
  "w",
  "k",
  "kernel",
  "stride",
  "padding",
  "dilation",
  "groups",
  "extra",
  "ceil",
  "bias",
  "countPad",
];

const FRESH = {
  edits: {},
  at: { n: 0, k: 0, i: 0, j: 0 },
  step: -1,
  flip: false,
  symbols: false,
  view: "im2col",
  term: "",
  select: null,
  gpu: "direct",
  code: "torch",
  wanted: null,
  cell: null,
  speed: 2,
};

/** The state that a preset's layer begins with. */
export function startOf(preset, layer = 0) {
  const { settings } = chainOf(PRESETS[preset])[layer];
  return { ...FRESH, preset, layer, ...settings };
}

/** Index of a preset's layers that have windows, and so can be looked into. */
export function openable(preset) {
  return PRESETS[preset].layers.flatMap((layer, i) => (WINDOWED.includes(layer.op) ? [i] : []));
}

/** Whether the settings are still those of the preset's layer. */
export function isPreset(state) {
  const from = startOf(state.preset, state.layer);
  return NUMBERS.every((name) => String(state[name]) === String(from[name]));
}

const inside = (value, size) => Math.max(0, Math.min(value, size - 1));

/** State → everything that panels read: the problem, its numbers, the pinned cell's terms. */
export function derive(state) {
  const problem = problemOf(state);
  const preset = PRESETS[state.preset];
  const own = !isPreset(state);
  const made = { state, problem, own, chain: own ? ownChain(state) : chainOf(preset) };
  made.layer = own ? 0 : state.layer;
  if (problem.error) return made;
  const golden = state.layer === 0 ? preset : null;
  const plain = dataOf(golden, state.edits, state.op === "transposed");
  made.data = state.flip && state.op === "conv" ? turned(plain, problem.kernel) : plain;
  made.plain = plain;
  const { n, k, i, j } = state.at;
  made.at = {
    n: inside(n, problem.n),
    k: inside(k, problem.channels),
    i: inside(i, problem.out[0]),
    j: inside(j, problem.out[1]),
  };
  made.terms = termsOf(problem, made.data, made.at);
  made.result = resultOf(problem, made.data, made.at, made.terms);
  made.step = Math.max(-1, Math.min(state.step, made.terms.length - 1));
  return made;
}

/** The pinned output moved to the next or the previous one, in the order of the loops. */
export function moved(context, by) {
  const { problem, at } = context;
  const [rows, columns] = problem.out;
  const each = rows * columns;
  const all = each * problem.channels;
  const flat = (((at.k * each + at.i * columns + at.j + by) % all) + all) % all;
  return {
    n: at.n,
    k: Math.floor(flat / each),
    i: Math.floor((flat % each) / columns),
    j: flat % columns,
  };
}
