// The whole state in the address, behind the #: what one sees can be sent to someone.
import { OPS } from "./engine/problem.js";
import { PRESETS } from "./presets.js";
import { NUMBERS, openable, startOf } from "./state.js";

const FLAGS = ["ceil", "bias", "countPad", "flip", "symbols"];
const PAIRS = ["kernel", "stride", "padding", "dilation", "extra"];
const WORDS = ["view", "gpu", "code", "term"];
const VIEWS = {
  view: ["loops", "im2col", "scatter"],
  gpu: ["direct", "shared"],
  code: ["torch", "numpy", "loops"],
  term: ["", "size", "padding", "kernel", "stride", "over", "out"],
};
const THEMES = ["light", "dark"];

/** State → text for location.hash, without what is as the preset's layer has it. */
export function written(state, settings) {
  const from = startOf(state.preset, state.layer);
  const words = new URLSearchParams();
  words.set("preset", state.preset);
  if (state.layer) words.set("layer", state.layer);
  for (const name of [...NUMBERS, ...WORDS, "step", "flip", "symbols", "wanted"])
    if (String(state[name] ?? "") !== String(from[name] ?? ""))
      words.set(name, FLAGS.includes(name) ? Number(state[name]) : String(state[name]));
  const at = Object.values(state.at);
  if (at.some(Boolean)) words.set("at", at.join("."));
  if (state.cell) words.set("cell", state.cell.join("."));
  for (const which of ["x", "w", "b"]) {
    const edits = Object.entries(state.edits[which] ?? {});
    if (edits.length) words.set(`edit_${which}`, edits.map((e) => e.join(":")).join(";"));
  }
  if (state.select) words.set("select", [state.select.which, ...state.select.at].join("."));
  for (const [name, value] of Object.entries(settings)) if (value) words.set(name, value);
  return words.toString().replaceAll("%3A", ":").replaceAll("%3B", ";").replaceAll("%2C", ",");
}

const SELECTED = { x: 3, w: 4, b: 1 }; // coordinates of a selected number

/** "3.4" → [3, 4]; null unless there are `count` whole numbers. */
function places(text, count) {
  const at = text.split(".").map(Number);
  return at.length === count && at.every(Number.isInteger) ? at : null;
}

function selected(text) {
  const which = text[0];
  const at = Object.hasOwn(SELECTED, which) ? places(text.slice(2), SELECTED[which]) : null;
  return at && { which, at };
}

/** location.hash → {state, settings}; what makes no sense is left as the preset has it. */
export function read(hash) {
  const words = new URLSearchParams(hash.replace(/^#/, ""));
  const preset = Object.hasOwn(PRESETS, words.get("preset")) ? words.get("preset") : "cs231n";
  const layer = Number(words.get("layer"));
  const state = startOf(preset, openable(preset).includes(layer) ? layer : 0);
  for (const [name, text] of words) {
    if (name === "op") state.op = OPS.includes(text) ? text : state.op;
    else if (FLAGS.includes(name)) state[name] = text === "1";
    else if (PAIRS.includes(name)) state[name] = asPair(text);
    else if (NUMBERS.includes(name) || name === "wanted") state[name] = Number(text);
    else if (name === "step") state.step = Number.isInteger(Number(text)) ? Number(text) : -1;
    else if (Object.hasOwn(VIEWS, name) && VIEWS[name].includes(text)) state[name] = text;
    else if (name === "at") {
      const [n, k, i, j] = places(text, 4) ?? [0, 0, 0, 0];
      state.at = { n, k, i, j };
    } else if (name === "cell") state.cell = places(text, 2);
    else if (name.startsWith("edit_"))
      state.edits = { ...state.edits, [name.slice(5)]: edits(text) };
    else if (name === "select") state.select = selected(text);
  }
  const theme = words.get("theme");
  return {
    state,
    settings: { lang: words.get("lang"), theme: THEMES.includes(theme) ? theme : null },
  };
}

/** "3" → [3, 3]; "3,5" → [3, 5]. */
export function asPair(text) {
  const parts = String(text)
    .split(/[,x×]/)
    .map((part) => (part.trim() === "" ? NaN : Number(part)));
  return parts.length === 1 ? [parts[0], parts[0]] : parts.slice(0, 2);
}

function edits(text) {
  return Object.fromEntries(
    text
      .split(";")
      .map((word) => word.split(":"))
      .filter(([, value]) => Number.isFinite(Number(value)))
      .map(([at, value]) => [at, Number(value)]),
  );
}
