// E: every product of the pinned output number, its sums, the bias, the result; step by step.
import { grid, range, tKey, windowOf } from "../cells.js";
import { add, el, hint, note, show } from "../dom.js";
import { isPool } from "../engine/problem.js";
import { flippedValueOf } from "../engine/terms.js";
import { player } from "./player.js";
import { nowText, spelledOut, symbolsOf, totals } from "./sums.js";
import { CHANNELS, currentTerm } from "../view.js";
import { t } from "../words.js";

const BLOCK = 7; // taps drawn along one side of a window

/** One channel: window × weights = products, and their sum so far. */
function block(context, ic) {
  const { problem: p, terms, step, result } = context;
  const [kh, kw] = p.kernel;
  const term = (r, s) => terms[(ic * kh + r) * kw + s];
  const now = currentTerm(context);
  const near = (a, at) => range(...windowOf(0, p.kernel[a], at ?? 0, at ?? 0, BLOCK));
  const rows = near(0, now?.ic === ic ? now.r : 0);
  const columns = near(1, now?.ic === ic ? now.s : 0);
  const size = Math.max(rows.length, columns.length) > 5 ? 22 : 26;
  const made = (name, cell) =>
    grid("arithmetic", rows, columns, (r, s) => cell(term(r, s)), {
      size,
      label: t(`arithmetic.${name}`, { c: terms[ic * kh * kw].c }),
    });
  const window = made("window", (x) => ({
    kind: x.inside ? "x" : x.gap ? "gap" : "pad",
    key: tKey(x.t),
    text: x.gap ? "" : x.inside ? show(x.x, 1) : p.op === "max" ? "" : "0",
  }));
  if (isPool(p)) return el("div", { class: "block" }, window);
  const weights = made("weights", (x) => ({
    kind: x.gap ? "gap" : "w",
    key: tKey(x.t),
    text: show(x.w, 1),
  }));
  const products = made("products_label", (x) => ({
    kind: x.t > step && step >= 0 ? "later" : x.gap ? "gap" : "t",
    key: tKey(x.t),
    text: (x.t > step && step >= 0) || x.gap ? "" : show(x.product, 1),
  }));
  const done = terms.slice(
    ic * kh * kw,
    Math.min((ic + 1) * kh * kw, step < 0 ? Infinity : step + 1),
  );
  const sum = step < 0 ? result.sums[ic] : done.reduce((all, x) => all + x.product, 0);
  return el(
    "div",
    { class: "block" },
    el("span", { class: "which" }, t("arithmetic.channel", { c: terms[ic * kh * kw].c })),
    window,
    el("span", {}, "×"),
    weights,
    el("span", {}, "="),
    products,
    el("span", { class: "sum" }, `Σ = ${show(sum, 4)}`),
  );
}

/** Draw panel E. */
export function arithmetic(root, page, context) {
  const { problem: p, at, terms, result, state } = context;
  const now = currentTerm(context);
  const [from, to] = windowOf(0, p.perGroup, now?.ic ?? 0, now?.ic ?? 0, CHANNELS);
  const inside = terms.filter((x) => x.inside).length;
  const symbols = el("input", {
    type: "checkbox",
    id: "symbols",
    checked: state.symbols,
    onchange: () => page.change({ symbols: symbols.checked }),
  });
  const facts = isPool(p)
    ? t("arithmetic.cells", { all: terms.length, inside })
    : t(p.op === "conv" ? "arithmetic.products" : "arithmetic.stamps", {
        all: terms.length,
        inside,
      });
  add(
    root,
    el(
      "p",
      { class: "headline" },
      el("code", {}, `y[${[at.n, at.k, at.i, at.j].join(", ")}] = `),
      el("strong", { id: "value" }, show(result.value, 4)),
    ),
    player(page, context),
    el("p", { class: "now", "aria-live": "polite", id: "now" }, nowText(context)),
    el(
      "div",
      { class: "blocks" },
      range(from, to).map((ic) => block(context, ic)),
    ),
    p.perGroup > to - from
      ? note(t("note.channels", { shown: to - from, all: p.perGroup }))
      : el("span", { hidden: true }),
    el("p", { class: "equation", id: "totals" }, totals(context)),
    el(
      "p",
      { class: "equation small", id: "equation" },
      state.symbols ? symbolsOf(p, at) : spelledOut(context),
    ),
    el("p", { class: "flag" }, symbols, el("label", { for: "symbols" }, t("arithmetic.symbols"))),
    hint(
      facts,
      p.op !== "conv"
        ? ""
        : ` ${t(state.flip ? "arithmetic.flipped" : "arithmetic.flip", {
            value: show(flippedValueOf(p, context.data, at), 4),
          })}`,
    ),
  );
}
