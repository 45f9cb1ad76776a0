// G: the same layer in three ways: as loops, as a matrix product of columns, as stamps.
import { grid, range, windowOf, xKey, yKey } from "../cells.js";
import { add, choice, el, show } from "../dom.js";
import { isPool } from "../engine/problem.js";
import { firstChannel, readersOf, termsOf, weightAt } from "../engine/terms.js";
import { currentTerm, filterView } from "../view.js";
import { t } from "../words.js";

const ROWS = 10, CELL = 21;

/** Columns of a matrix that fit the panel beside the result. */
const roomFor = (root, results) => Math.max(6, Math.floor((root.clientWidth - 70 - results * 30) / CELL));

function loops(root, page, context) {
  const { problem: p, at, step, state } = context, now = currentTerm(context) ?? context.terms[0];
  const rows = [["n", at.n, p.n], [isPool(p) ? "c" : "oc", at.k, p.channels], ["oh", at.i, p.out[0]],
    ["ow", at.j, p.out[1]]];
  if (!isPool(p)) rows.push(["ic", now.ic, p.perGroup]);
  rows.push(["kh", now.r, p.kernel[0]], ["kw", now.s, p.kernel[1]]);
  const where = step < 0 ? t("loops.before") : now.gap ? t("loops.gap")
    : `ih = ${now.i}, iw = ${now.j}${now.inside ? "" : ` ${t("loops.outside")}`}`;
  add(root, el("p", { class: "note" }, t("loops.note", { all: rows.map((row) => row[2]).join(" · ") })),
    el("div", { class: "loops" }, rows.map(([name, value, of], depth) => {
      const bar = el("progress", { max: of, "aria-label": name });
      bar.value = value + 1;
      const row = el("div", { class: "loop" }, el("code", {}, `${name} = ${value}`),
        bar, el("span", {}, t("loops.of", { n: value + 1, of })));
      row.style.setProperty("--depth", depth);
      return row;
    })), el("p", { class: "equation small", id: "loop-now" }, where), state.flip ? el("span") : null);
}

/** How many windows an input cell can be in. */
function copies(p) {
  const middle = [0, 1].map((a) => Math.floor(p.size[a] / 2));
  let most = 0;
  for (let i = 0; i < p.stride[0]; i++)
    for (let j = 0; j < p.stride[1]; j++) {
      const { rows, columns } = readersOf(p, 0, middle[0] - i, middle[1] - j);
      most = Math.max(most, rows.length * columns.length);
    }
  return most;
}

/** Column matrix of a convolution or a pooling: a row a window, a column a tap. */
function columns(root, page, context) {
  const { problem: p, data, at, terms } = context, pool = isPool(p);
  const filters = pool ? [at.k] : filterView(p, at, 3).channels
    .filter((k) => firstChannel(p, k) === firstChannel(p, at.k));
  const [, width] = p.out, flat = at.i * width + at.j, count = p.out[0] * width;
  const rows = range(...windowOf(0, count, flat, flat, ROWS)), now = Math.max(0, context.step);
  const taps = range(...windowOf(0, terms.length, now, now, roomFor(root, filters.length)));
  const place = (m) => ({ n: at.n, k: at.k, i: Math.floor(m / width), j: m % width });
  const made = new Map(rows.map((m) => [m, termsOf(p, data, place(m))]));
  if (!pool) add(root, el("figure", {}, el("figcaption", {}, t("im2col.filters", { k: filters.length,
    of: p.k / p.groups })),
  grid("matmul", filters, taps, (k, tap) => ({ kind: k === at.k ? "w lit" : "w",
    key: k === at.k ? `g/${tap}` : undefined,
    text: show(data.w(...weightAt(p, k, terms[tap].ic), terms[tap].r, terms[tap].s), 1) }),
  { width: CELL, height: 24, heads: true, label: t("im2col.filters_label") })));
  const result = grid("matmul", rows, filters, (m, k) => {
    const { i, j } = place(m);
    return { kind: m === flat && k === at.k ? "y lit" : "y", key: yKey(k, i, j),
      text: show(page.value({ n: at.n, k, i, j }), 1) };
  }, { width: 30, height: 24, heads: true, label: t("im2col.result"), onpeek: page.peek,
    onpick: (key) => { const [k, i, j] = key.split("/").slice(1).map(Number); page.pin({ n: at.n, k, i, j }); } });
  add(root, el("div", { class: "product" },
    el("figure", {}, el("figcaption", {}, t(pool ? "im2col.windows" : "im2col.columns", {
      rows: count, taps: terms.length })),
    grid("matmul", rows, taps, (m, tap) => {
      const x = made.get(m)[tap];
      return { kind: `${x.inside ? "x" : "pad"}${m === flat ? " lit" : ""}`,
        key: m === flat ? `g/${tap}` : undefined,
        text: x.inside ? show(x.x, 1) : p.op === "max" ? "" : "0" };
    }, { width: CELL, height: 24, heads: true, label: t("im2col.matrix") })),
    el("figure", {}, el("figcaption", {}, pool ? t(`op.${p.op}`) : "Y"), result)));
  const cut = rows.length < count || taps.length < terms.length;
  add(root, cut && el("p", { class: "note" }, t("note.matrix", { rows: rows.length, taps: taps.length,
    all: `${count}×${terms.length}` })),
  el("p", { class: "note" }, t(pool ? "im2col.pool" : "im2col.note", { row: flat, k: at.k,
    times: copies(p) })));
}

/** A transposed convolution: a row a small-side position, a column a tap of the stamp; then fold. */
function stampMatrix(root, page, context) {
  const { problem: p, data, at } = context, [kh, kw] = p.kernel, [, width] = p.size;
  const hits = context.terms.filter((x) => x.ic === 0 && x.inside);
  const flat = hits.length ? hits[0].i * width + hits[0].j : 0, count = p.size[0] * width;
  const last = hits.length ? hits.at(-1).i * width + hits.at(-1).j : 0;
  const rows = range(...windowOf(0, count, flat, last, ROWS));
  const taps = range(...windowOf(0, kh * kw, 0, 0, roomFor(root, 0)));
  const first = firstChannel(p, at.k);
  const value = (m, tap) => range(0, p.perGroup).reduce((sum, ic) => sum +
    data.x(at.n, first + ic, Math.floor(m / width), m % width) *
    data.w(...weightAt(p, at.k, ic), Math.floor(tap / kw), tap % kw), 0);
  const lit = new Set(hits.map((x) => `${x.i * width + x.j}.${x.r * kw + x.s}`));
  add(root, el("figure", {}, el("figcaption", {}, t("im2col.stamps", { rows: count, taps: kh * kw, k: at.k })),
    grid("matmul", rows, taps, (m, tap) => ({ text: show(value(m, tap), 1),
      kind: lit.has(`${m}.${tap}`) ? "t lit" : "t" }),
    { width: 28, height: 24, heads: true, label: t("im2col.matrix") })),
  (rows.length < count || taps.length < kh * kw) && el("p", { class: "note" }, t("note.matrix", {
    rows: rows.length, taps: taps.length, all: `${count}×${kh * kw}` })),
  el("p", { class: "note" }, t("im2col.fold", { n: lit.size, value: show(context.result.value, 4),
    at: [at.n, at.k, at.i, at.j].join(", ") })));
}

/** One input cell and where its stamp falls. */
function scatter(root, page, context) {
  const { problem: p, data, at, state } = context, now = currentTerm(context);
  const first = firstChannel(p, at.k);
  const hit = now?.inside ? now : context.terms.find((x) => x.inside);
  const own = state.select?.which === "x" && state.select.at[0] >= first &&
    state.select.at[0] < first + p.perGroup ? state.select.at : null;
  const [c, i, j] = own ?? (hit ? [hit.c, hit.i, hit.j] : [first, 0, 0]);
  const read = readersOf(p, c, i, j), x = data.x(at.n, c, i, j);
  const near = (list, o, a) => range(...windowOf(0, p.out[a], list[0] ?? o, list.at(-1) ?? o, ROWS));
  const stamp = (oh, ow) => termsOf(p, data, { n: at.n, k: at.k, i: oh, j: ow })
    .find((term) => term.inside && term.c === c && term.i === i && term.j === j);
  add(root, el("p", { class: "equation small" }, t("scatter.cell", { at: [at.n, c, i, j].join(", "),
    value: show(x, 4) })),
  el("figure", {}, el("figcaption", {}, t("scatter.onto", { k: at.k })),
    grid("matmul", near(read.rows, at.i, 0), near(read.columns, at.j, 1), (oh, ow) => {
      const term = read.rows.includes(oh) && read.columns.includes(ow) ? stamp(oh, ow) : null;
      return { key: yKey(at.k, oh, ow), kind: term ? "t lit" : "gap",
        text: term ? `${show(term.w, 1)}·${show(term.x, 1)}` : "" };
    }, { width: 34, height: 26, heads: true, label: t("scatter.map"), onpeek: page.peek,
      onpick: (key) => { const [k, oh, ow] = key.split("/").slice(1).map(Number);
        page.pin({ n: at.n, k, i: oh, j: ow }); } })),
  el("p", { class: "note" }, t(p.op === "transposed" ? "scatter.transposed" : "scatter.conv")),
  el("p", { class: "hint" }, t("scatter.hint", { key: xKey(c, i, j) })));
}

/** Draw panel G. */
export function matmul(root, page, context) {
  const { problem: p, state } = context, pool = isPool(p);
  const views = ["loops", "im2col", ...(pool ? [] : ["scatter"])];
  const view = views.includes(state.view) ? state.view : "im2col";
  add(root, choice(t("matmul.view"), views.map((name) => [name, t(`view.${name}`)]), view,
    (name) => page.change({ view: name })));
  const body = el("div", { class: "body" });
  add(root, body);
  if (view === "loops") loops(body, page, context);
  else if (view === "scatter") scatter(body, page, context);
  else (p.op === "transposed" ? stampMatrix : columns)(body, page, context);
}
