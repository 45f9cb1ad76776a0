// The other two ways of panel G: nested loops, and stamps from an input cell.
import { grid, partsOf, range, windowOf, yKey } from "../cells.js";
import { add, el, hint, note, show } from "../dom.js";
import { isPool } from "../engine/problem.js";
import { firstChannel, readersOf, termsOf } from "../engine/terms.js";
import { currentTerm } from "../view.js";
import { t } from "../words.js";

const REACH = 8; // rows and columns of the output that are drawn

/** The loops, outermost first, and how far each has come. */
export function loops(root, page, context) {
  const { problem: p, at, step } = context;
  const now = currentTerm(context) ?? context.terms[0];
  const rows = [
    ["n", at.n, p.n],
    [isPool(p) ? "c" : "oc", at.k, p.channels],
    ["oh", at.i, p.out[0]],
    ["ow", at.j, p.out[1]],
  ];
  if (!isPool(p)) rows.push(["ic", now.ic, p.perGroup]);
  rows.push(["kh", now.r, p.kernel[0]], ["kw", now.s, p.kernel[1]]);
  const where =
    step < 0
      ? t("loops.before")
      : now.gap
        ? t("loops.gap")
        : `ih = ${now.i}, iw = ${now.j}${now.inside ? "" : ` ${t("loops.outside")}`}`;
  add(
    root,
    note(t("loops.note", { all: rows.map((row) => row[2]).join(" · ") })),
    el(
      "div",
      { class: "loops" },
      rows.map(([name, value, of], depth) => {
        const bar = el("progress", { max: of, "aria-label": name });
        bar.value = value + 1;
        const row = el(
          "div",
          { class: "loop" },
          el("code", {}, `${name} = ${value}`),
          bar,
          el("span", {}, t("loops.of", { n: value + 1, of })),
        );
        row.style.setProperty("--depth", depth);
        return row;
      }),
    ),
    el("p", { class: "equation small", id: "loop-now" }, where),
  );
}

/** One input cell and where its stamp falls. */
export function scatter(root, page, context) {
  const { problem: p, data, at, state } = context;
  const now = currentTerm(context);
  const first = firstChannel(p, at.k);
  const hit = now?.inside ? now : context.terms.find((x) => x.inside);
  const own =
    state.select?.which === "x" &&
    state.select.at[0] >= first &&
    state.select.at[0] < first + p.perGroup
      ? state.select.at
      : null;
  const [c, i, j] = own ?? (hit ? [hit.c, hit.i, hit.j] : [first, 0, 0]);
  const read = readersOf(p, c, i, j);
  const x = data.x(at.n, c, i, j);
  const near = (list, o, a) =>
    range(...windowOf(0, p.out[a], list[0] ?? o, list.at(-1) ?? o, REACH));
  const stamp = (oh, ow) =>
    termsOf(p, data, { n: at.n, k: at.k, i: oh, j: ow }).find(
      (term) => term.inside && term.c === c && term.i === i && term.j === j,
    );
  add(
    root,
    el(
      "p",
      { class: "equation small" },
      t("scatter.cell", { at: [at.n, c, i, j].join(", "), value: show(x, 4) }),
    ),
    el(
      "figure",
      {},
      el("figcaption", {}, t("scatter.onto", { k: at.k })),
      grid(
        "matmul",
        near(read.rows, at.i, 0),
        near(read.columns, at.j, 1),
        (oh, ow) => {
          const term = read.rows.includes(oh) && read.columns.includes(ow) ? stamp(oh, ow) : null;
          return {
            key: yKey(at.k, oh, ow),
            kind: term ? "t lit" : "gap",
            text: term ? `${show(term.w, 1)}·${show(term.x, 1)}` : "",
          };
        },
        {
          width: 34,
          height: 26,
          heads: true,
          label: t("scatter.map"),
          onpeek: page.peek,
          onpick: (key) => {
            const [k, oh, ow] = partsOf(key);
            page.pin({ n: at.n, k, i: oh, j: ow });
          },
        },
      ),
    ),
    note(t(p.op === "transposed" ? "scatter.transposed" : "scatter.conv")),
    hint(t("scatter.hint")),
  );
}
