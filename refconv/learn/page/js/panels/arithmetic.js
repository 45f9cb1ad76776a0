// E: every product of the pinned output number, its sums, the bias, the result; step by step.
import { bKey, grid, range, tKey, windowOf, wKey, xKey } from "../cells.js";
import { add, button, el, icon, show } from "../dom.js";
import { isPool } from "../engine/problem.js";
import { flippedValueOf } from "../engine/terms.js";
import { CHANNELS, currentTerm } from "../view.js";
import { t } from "../words.js";

const BLOCK = 7; // taps drawn along one side of a window
const LISTED = 36; // products written out

function player(page, context) {
  const last = context.terms.length - 1, { step, state } = context;
  const go = (to) => page.step(to);
  const scrub = el("input", { type: "range", min: -1, max: last, value: step, id: "scrub",
    "aria-label": t("play.scrub"), oninput: () => go(Number(scrub.value)) });
  const speed = el("select", { id: "speed", "aria-label": t("play.speed"),
    onchange: () => page.change({ speed: Number(speed.value) }) },
  [1, 2, 5, 20].map((n) => el("option", { value: n, selected: n === state.speed }, t("play.each", { n }))));
  const sign = (name, act, more) => button(icon(name), act, { "aria-label": t(`play.${name}`),
    title: t(`play.${name}`), id: `play-${name === "pause" ? "play" : name}`, ...more });
  return el("div", { class: "player" },
    sign("first", () => go(-1)), sign("back", () => go(step - 1)),
    sign(page.playing ? "pause" : "play", page.toggle, { class: "main" }),
    sign("next", () => go(step + 1)), sign("last", () => go(last)),
    scrub, speed,
    button(t("play.previous"), () => page.neighbour(-1), { id: "cell-previous" }),
    button(t("play.following"), () => page.neighbour(1), { id: "cell-next" }));
}

/** One channel: window × weights = products, and their sum so far. */
function block(context, ic) {
  const { problem: p, terms, step, result } = context, [kh, kw] = p.kernel;
  const term = (r, s) => terms[(ic * kh + r) * kw + s], now = currentTerm(context);
  const near = (a, at) => range(...windowOf(0, p.kernel[a], at ?? 0, at ?? 0, BLOCK));
  const rows = near(0, now?.ic === ic ? now.r : 0), columns = near(1, now?.ic === ic ? now.s : 0);
  const size = Math.max(rows.length, columns.length) > 5 ? 22 : 26;
  const made = (name, cell) => grid("arithmetic", rows, columns, (r, s) => cell(term(r, s)),
    { size, label: t(`arithmetic.${name}`, { c: terms[ic * kh * kw].c }) });
  const window = made("window", (x) => ({ kind: x.inside ? "x" : x.gap ? "gap" : "pad",
    key: tKey(x.t), text: x.gap ? "" : x.inside ? show(x.x, 1) : p.op === "max" ? "" : "0" }));
  if (isPool(p)) return el("div", { class: "block" }, window);
  const weights = made("weights", (x) => ({ kind: x.gap ? "gap" : "w", key: tKey(x.t),
    text: show(x.w, 1) }));
  const products = made("products_label", (x) => ({ kind: x.t > step && step >= 0 ? "later" : x.gap ? "gap" : "t",
    key: tKey(x.t), text: x.t > step && step >= 0 || x.gap ? "" : show(x.product, 1) }));
  const done = terms.slice(ic * kh * kw, Math.min((ic + 1) * kh * kw, step < 0 ? Infinity : step + 1));
  const sum = step < 0 ? result.sums[ic] : done.reduce((all, x) => all + x.product, 0);
  return el("div", { class: "block" },
    el("span", { class: "which" }, t("arithmetic.channel", { c: terms[ic * kh * kw].c })),
    window, el("span", {}, "×"), weights, el("span", {}, "="), products,
    el("span", { class: "sum" }, `Σ = ${show(sum, 4)}`));
}

/** The sum in symbols, with the pinned cell's indices put in. */
export function symbolsOf(p, at) {
  const { n, k, i, j } = at, c = p.groups > 1 ? `${Math.floor(k / (p.k / p.groups)) * p.perGroup}+c` : "c";
  const reach = (o, a, tap) => {
    const d = p.dilation[a] > 1 ? `${tap}·${p.dilation[a]}` : tap;
    return `${o}·${p.stride[a]}${p.padding[a] ? `−${p.padding[a]}` : ""}+${d}`;
  };
  const left = `y[${n},${k},${i},${j}]`, at2 = `${reach(i, 0, "r")}, ${reach(j, 1, "s")}`;
  if (p.op === "max") return `${left} = max r,s  x[${n},${k}, ${at2}]`;
  if (p.op === "avg") return `${left} = Σr Σs x[${n},${k}, ${at2}] / cells`;
  if (p.op === "transposed") {
    const back = (o, a, tap) => `(${o}+${p.padding[a]}−${tap}·${p.dilation[a]})/${p.stride[a]}`;
    return `${left} = Σc Σr Σs x[${n},${c}, ${back(i, 0, "r")}, ${back(j, 1, "s")}] · ` +
      `w[${c},${k % (p.k / p.groups)},r,s]${p.bias ? ` + b[${k}]` : ""}`;
  }
  return `${left} = Σc Σr Σs xpad[${n},${c}, ${at2}] · w[${k},c,r,s]${p.bias ? ` + b[${k}]` : ""}`;
}

function spelledOut(context) {
  const { problem: p, terms, result } = context;
  const inside = terms.filter((x) => x.inside), few = inside.slice(0, LISTED);
  const more = inside.length > few.length ? t("arithmetic.more", { n: inside.length - few.length }) : "";
  const value = show(result.value, 4), bracket = (v) => (v < 0 ? `(${show(v, 2)})` : show(v, 2));
  if (p.op === "max")
    return `max(${few.map((x) => show(x.x, 2)).join(", ")}${more}) = ${value}`;
  if (p.op === "avg")
    return `(${few.map((x) => bracket(x.x)).join(" + ")}${more}) / ${result.divisor} = ${value}`;
  const products = few.map((x) => `${bracket(x.x)}·${bracket(x.w)}`).join(" + ") || "0";
  return `${products}${more}${p.bias ? ` + ${bracket(result.bias)}` : ""} = ${value}`;
}

/** "4 + 1 + 1 + b 1 = 7": the channels' sums, the bias, the result. */
function totals(context) {
  const { problem: p, result, terms } = context;
  if (p.op === "max") return t("arithmetic.winner", { value: show(result.value, 4),
    at: result.winner ? `x[${context.at.n}, ${result.winner.c}, ${result.winner.i}, ${result.winner.j}]` : "–" });
  if (p.op === "avg")
    return `${show(result.sum, 4)} / ${result.divisor} = ${show(result.value, 4)}`;
  const bracket = (v) => (v < 0 ? `(${show(v, 4)})` : show(v, 4));
  const sums = result.sums.length <= 6 ? result.sums.map(bracket).join(" + ")
    : `${result.sums.slice(0, 5).map(bracket).join(" + ")} + ${t("arithmetic.more_sums", {
      n: result.sums.length - 5, sum: bracket(result.sums.slice(5).reduce((a, b) => a + b)) })}`;
  return `${sums}${p.bias ? ` + b ${bracket(result.bias)}` : ""} = ${show(result.value, 4)}`;
}

function nowText(context) {
  const { problem: p, terms, step, at } = context, x = currentTerm(context);
  if (!x) return t("arithmetic.start");
  const place = `x[${at.n}, ${x.c}, ${x.i}, ${x.j}]`, of = { step: step + 1, all: terms.length };
  if (x.gap) return t("arithmetic.gap", { ...of, r: x.r, s: x.s });
  if (!x.inside) return t(isPool(p) ? "arithmetic.outside_pool" : "arithmetic.outside", { ...of, place });
  const done = terms.slice(0, step + 1).filter((y) => y.inside);
  if (p.op === "max")
    return t("arithmetic.best", { ...of, place, value: show(x.x, 4),
      best: show(Math.max(...done.map((y) => y.x)), 4) });
  const sum = done.reduce((all, y) => all + (p.op === "avg" ? y.x : y.product), 0);
  if (p.op === "avg") return t("arithmetic.adds", { ...of, place, value: show(x.x, 4), sum: show(sum, 4) });
  return t("arithmetic.now", { ...of, place, weight: `w[${x.at.join(", ")}, ${x.r}, ${x.s}]`,
    x: show(x.x, 4), w: show(x.w, 4), product: show(x.product, 4), sum: show(sum, 4) });
}

/** Draw panel E. */
export function arithmetic(root, page, context) {
  const { problem: p, at, terms, result, state } = context, now = currentTerm(context);
  const [from, to] = windowOf(0, p.perGroup, now?.ic ?? 0, now?.ic ?? 0, CHANNELS);
  const inside = terms.filter((x) => x.inside).length;
  const symbols = el("input", { type: "checkbox", id: "symbols", checked: state.symbols,
    onchange: () => page.change({ symbols: symbols.checked }) });
  const facts = isPool(p) ? t("arithmetic.cells", { all: terms.length, inside })
    : t(p.op === "conv" ? "arithmetic.products" : "arithmetic.stamps", { all: terms.length, inside });
  add(root, 
    el("p", { class: "headline" }, el("code", {}, `y[${[at.n, at.k, at.i, at.j].join(", ")}] = `),
      el("strong", { id: "value" }, show(result.value, 4))),
    player(page, context), el("p", { class: "now", "aria-live": "polite", id: "now" }, nowText(context)),
    el("div", { class: "blocks" }, range(from, to).map((ic) => block(context, ic))),
    p.perGroup > to - from ? el("p", { class: "note" },
      t("note.channels", { shown: to - from, all: p.perGroup })) : el("span", { hidden: true }),
    el("p", { class: "equation", id: "totals" }, totals(context)),
    el("p", { class: "equation small", id: "equation" },
      state.symbols ? symbolsOf(p, at) : spelledOut(context)),
    el("p", { class: "flag" }, symbols, el("label", { for: "symbols" }, t("arithmetic.symbols"))),
    el("p", { class: "hint" }, facts, p.op !== "conv" ? "" : ` ${t(state.flip ? "arithmetic.flipped"
      : "arithmetic.flip", { value: show(flippedValueOf(p, context.data, at), 4) })}`));
}

/** Keys of the cells that the pinned output reads, and of those of the current term. */
export function linked(context) {
  const { problem: p, terms, at } = context, now = currentTerm(context);
  const keys = (list) => list.flatMap((x) => [
    ...(x.gap ? [] : [xKey(x.c, x.i, x.j)]), ...(x.at && !x.gap ? [wKey(...x.at, x.r, x.s)] : [])]);
  const few = terms.length > 600 ? terms.filter((x) => Math.abs(x.ic - (now?.ic ?? 0)) < 4) : terms;
  return {
    window: keys(few), now: now ? [...keys([now]), tKey(now.t), `g/${now.t}`] : [],
    winner: p.op === "max" && context.result.winner
      ? [tKey(context.result.winner.t), ...keys([context.result.winner])] : [],
    bias: p.bias && !isPool(p) ? [bKey(at.k)] : [],
  };
}
