// A: the layer's numbers, as sliders and as text. What torch refuses turns red and says how to
// mend it; nothing is clamped.
import { add, button, choice, el, grouped } from "../dom.js";
import { isPool, OPS } from "../engine/problem.js";
import { asPair } from "../link.js";
import { NUMBERS, startOf } from "../state.js";
import { t } from "../words.js";

// name, label, least and most of the slider, for which ops; `pair`: one value an axis.
const FIELDS = [
  { name: "n", sign: "N", least: 1, most: 8 },
  { name: "c", sign: "C", least: 1, most: 64 },
  { name: "h", sign: "H", least: 1, most: 96 },
  { name: "w", sign: "W", least: 1, most: 96 },
  { name: "k", sign: "K", least: 1, most: 64, hide: isPool },
  { name: "kernel", sign: "k", least: 1, most: 11, pair: true },
  { name: "stride", sign: "s", least: 1, most: 8, pair: true },
  { name: "padding", sign: "p", least: 0, most: 8, pair: true },
  { name: "dilation", sign: "d", least: 1, most: 6, pair: true, hide: (s) => s.op === "avg" },
  { name: "groups", sign: "g", least: 1, most: 64, hide: isPool },
  { name: "extra", sign: "op", least: 0, most: 4, pair: true, hide: (s) => s.op !== "transposed" },
];
const BOXES = [
  { name: "bias", hide: isPool },
  { name: "ceil", hide: (s) => !isPool(s) },
  { name: "countPad", hide: (s) => s.op !== "avg" },
];

const asText = (value) => (Array.isArray(value) && value[0] === value[1] ? value[0] : `${value}`);
const first = (value) => (Array.isArray(value) ? value[0] : value);

function field(page, spec) {
  const { name, pair } = spec;
  const set = (value) => page.change({ [name]: value });
  const text = el("input", {
    type: "text",
    inputmode: pair ? "text" : "numeric",
    id: `value-${name}`,
    autocomplete: "off",
    spellcheck: "false",
    oninput: () =>
      set(pair ? asPair(text.value) : text.value.trim() === "" ? NaN : Number(text.value)),
  });
  const slide = el("input", {
    type: "range",
    min: spec.least,
    max: spec.most,
    id: `slide-${name}`,
    tabindex: "-1",
    oninput: () => set(pair ? [Number(slide.value), Number(slide.value)] : Number(slide.value)),
  });
  const label = el("label", { for: `value-${name}` });
  const row = el("div", { class: "field", "data-field": name }, label, slide, text);
  return {
    row,
    show({ state, problem }) {
      row.hidden = Boolean(spec.hide?.(state));
      label.replaceChildren(el("b", {}, spec.sign), " ", t(`field.${name}`));
      slide.setAttribute("aria-label", t(`field.${name}`));
      slide.value = first(state[name]);
      if (document.activeElement !== text) text.value = asText(state[name]);
      row.classList.toggle("bad", problem.error?.field === name);
      text.setAttribute("aria-invalid", String(problem.error?.field === name));
    },
  };
}

function flag(page, { name, hide }) {
  const box = el("input", {
    type: "checkbox",
    id: `flag-${name}`,
    onchange: () => page.change({ [name]: box.checked }),
  });
  const word = el("label", { for: `flag-${name}` });
  const row = el("div", { class: "flag" }, box, word);
  return {
    row,
    show({ state }) {
      row.hidden = hide(state);
      box.checked = state[name];
      word.textContent = t(`flag.${name}`);
    },
  };
}

/** The refusal: torch's words, our rule with the numbers, the fix. */
export function refusalOf(problem) {
  const { code, torch, numbers } = problem.error;
  return el(
    "div",
    { class: "refusal", role: "alert" },
    el("p", { class: "rule" }, el("span", { class: "sign" }, "✘ "), t(`error.${code}`, numbers)),
    torch
      ? el("p", { class: "torch" }, t("error.torch"), " ", el("code", { lang: "en" }, torch))
      : null,
    el("p", { class: "fix" }, t("error.fix"), " ", t(`fix.${code}`, numbers)),
  );
}

function summary(problem) {
  const shape = (values) => values.join("×");
  const rows = [
    [t("sum.input"), shape([problem.n, problem.c, ...problem.size])],
    [t("sum.output"), shape([problem.n, problem.channels, ...problem.out])],
  ];
  if (!isPool(problem))
    rows.push(
      [t("sum.weight"), shape(problem.weightShape)],
      [t("sum.params"), grouped(problem.params)],
      [t("sum.macs"), grouped(problem.macs)],
      [t("sum.inside"), grouped(problem.inside)],
    );
  return el(
    "dl",
    { class: "summary" },
    rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
  );
}

/** The panel keeps its elements, so that typing is never interrupted by a redraw. */
export function controls(root, page) {
  const ops = el("div");
  const verdict = el("div", { "aria-live": "polite" });
  const fields = FIELDS.map((spec) => field(page, spec));
  const flags = BOXES.map((spec) => flag(page, spec));
  const back = button(
    "",
    () =>
      page.change(
        Object.fromEntries(
          NUMBERS.map((name) => [name, startOf(page.state.preset, page.state.layer)[name]]),
        ),
      ),
    { id: "reset" },
  );
  add(root, ops, ...fields.map((f) => f.row), ...flags.map((f) => f.row), verdict, back);
  return (context) => {
    const { state, problem } = context;
    ops.replaceChildren(
      choice(
        t("field.op"),
        OPS.map((op) => [op, t(`op.${op}`)]),
        state.op,
        (op) => page.change({ op }),
      ),
    );
    for (const part of [...fields, ...flags]) part.show(context);
    verdict.replaceChildren(problem.error ? refusalOf(problem) : summary(problem));
    back.textContent = t("reset");
    back.hidden = !context.own;
  };
}
