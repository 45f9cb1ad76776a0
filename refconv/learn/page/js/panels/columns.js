// The matrices of panel G: im2col's columns, and those that a transposed convolution folds.
import { grid, partsOf, range, windowOf, yKey } from "../cells.js";
import { add, el, note, show } from "../dom.js";
import { isPool } from "../engine/problem.js";
import { firstChannel, readersOf, termsOf, weightAt } from "../engine/terms.js";
import { filterView } from "../view.js";
import { t } from "../words.js";

const ROWS = 10;
const CELL = 21;

/** Columns of a matrix that fit the panel beside the result. */
const roomFor = (page, results) => Math.max(6, Math.floor((page.width - 70 - results * 30) / CELL));

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
export function columns(root, page, context) {
  const { problem: p, data, at, terms } = context;
  const pool = isPool(p);
  const filters = pool
    ? [at.k]
    : filterView(p, at, 3).channels.filter((k) => firstChannel(p, k) === firstChannel(p, at.k));
  const [, width] = p.out;
  const flat = at.i * width + at.j;
  const count = p.out[0] * width;
  const rows = range(...windowOf(0, count, flat, flat, ROWS));
  const now = Math.max(0, context.step);
  const taps = range(...windowOf(0, terms.length, now, now, roomFor(page, filters.length)));
  const place = (m) => ({ n: at.n, k: at.k, i: Math.floor(m / width), j: m % width });
  const made = new Map(rows.map((m) => [m, termsOf(p, data, place(m))]));
  if (!pool)
    add(
      root,
      el(
        "figure",
        {},
        el("figcaption", {}, t("im2col.filters", { k: filters.length, of: p.k / p.groups })),
        grid(
          "matmul",
          filters,
          taps,
          (k, tap) => ({
            kind: k === at.k ? "w lit" : "w",
            key: k === at.k ? `g/${tap}` : undefined,
            text: show(data.w(...weightAt(p, k, terms[tap].ic), terms[tap].r, terms[tap].s), 1),
          }),
          { width: CELL, height: 24, heads: true, label: t("im2col.filters_label") },
        ),
      ),
    );
  const result = grid(
    "matmul",
    rows,
    filters,
    (m, k) => {
      const { i, j } = place(m);
      return {
        kind: m === flat && k === at.k ? "y lit" : "y",
        key: yKey(k, i, j),
        text: show(page.value({ n: at.n, k, i, j }), 1),
      };
    },
    {
      width: 30,
      height: 24,
      heads: true,
      label: t("im2col.result"),
      onpeek: page.peek,
      onpick: (key) => {
        const [k, i, j] = partsOf(key);
        page.pin({ n: at.n, k, i, j });
      },
    },
  );
  add(
    root,
    el(
      "div",
      { class: "product" },
      el(
        "figure",
        {},
        el(
          "figcaption",
          {},
          t(pool ? "im2col.windows" : "im2col.columns", {
            rows: count,
            taps: terms.length,
          }),
        ),
        grid(
          "matmul",
          rows,
          taps,
          (m, tap) => {
            const x = made.get(m)[tap];
            return {
              kind: `${x.inside ? "x" : "pad"}${m === flat ? " lit" : ""}`,
              key: m === flat ? `g/${tap}` : undefined,
              text: x.inside ? show(x.x, 1) : p.op === "max" ? "" : "0",
            };
          },
          { width: CELL, height: 24, heads: true, label: t("im2col.matrix") },
        ),
      ),
      el("figure", {}, el("figcaption", {}, pool ? t(`op.${p.op}`) : "Y"), result),
    ),
  );
  const cut = rows.length < count || taps.length < terms.length;
  add(
    root,
    cut &&
      note(
        t("note.matrix", { rows: rows.length, taps: taps.length, all: `${count}×${terms.length}` }),
      ),
    note(t(pool ? "im2col.pool" : "im2col.note", { row: flat, k: at.k, times: copies(p) })),
  );
}

/** A transposed convolution: a row an input cell, a column a tap of its stamp; then fold. */
export function stampMatrix(root, page, context) {
  const { problem: p, data, at } = context;
  const [kh, kw] = p.kernel;
  const [, width] = p.size;
  const hits = context.terms.filter((x) => x.ic === 0 && x.inside);
  const flat = hits.length ? hits[0].i * width + hits[0].j : 0;
  const count = p.size[0] * width;
  const last = hits.length ? hits.at(-1).i * width + hits.at(-1).j : 0;
  const rows = range(...windowOf(0, count, flat, last, ROWS));
  const taps = range(...windowOf(0, kh * kw, 0, 0, roomFor(page, 0)));
  const first = firstChannel(p, at.k);
  const value = (m, tap) =>
    range(0, p.perGroup).reduce(
      (sum, ic) =>
        sum +
        data.x(at.n, first + ic, Math.floor(m / width), m % width) *
          data.w(...weightAt(p, at.k, ic), Math.floor(tap / kw), tap % kw),
      0,
    );
  const lit = new Set(hits.map((x) => `${x.i * width + x.j}.${x.r * kw + x.s}`));
  add(
    root,
    el(
      "figure",
      {},
      el("figcaption", {}, t("im2col.stamps", { rows: count, taps: kh * kw, k: at.k })),
      grid(
        "matmul",
        rows,
        taps,
        (m, tap) => ({
          text: show(value(m, tap), 1),
          kind: lit.has(`${m}.${tap}`) ? "t lit" : "t",
        }),
        { width: 28, height: 24, heads: true, label: t("im2col.matrix") },
      ),
    ),
    (rows.length < count || taps.length < kh * kw) &&
      note(
        t("note.matrix", {
          rows: rows.length,
          taps: taps.length,
          all: `${count}×${kh * kw}`,
        }),
      ),
    note(
      t("im2col.fold", {
        n: lit.size,
        value: show(context.result.value, 4),
        at: [at.n, at.k, at.i, at.j].join(", "),
      }),
    ),
  );
}
