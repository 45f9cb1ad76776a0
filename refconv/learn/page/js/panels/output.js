// D: the output maps. Hovering shows what a cell reads, clicking pins it.
import { grid, partsOf, yKey } from "../cells.js";
import { add, el, hint, note, show } from "../dom.js";
import { valueOf } from "../engine/terms.js";
import { filterView, outputView } from "../view.js";
import { t } from "../words.js";

/** Draw panel D. */
export function output(root, page, context) {
  const { problem: p, at } = context;
  const { rows, columns, whole } = outputView(p, at);
  const { channels, whole: every } = filterView(p, at, columns.length > 7 ? 2 : 6);
  const maps = channels.map((k) =>
    el(
      "figure",
      {},
      el("figcaption", {}, `y[${at.n}, ${k}]`),
      grid(
        "output",
        rows,
        columns,
        (i, j) => ({
          key: yKey(k, i, j),
          kind: "y",
          text: show(page.value({ n: at.n, k, i, j }), 1),
        }),
        {
          width: 28,
          height: 26,
          heads: true,
          id: `output-${k}`,
          label: t("output.label", { k }),
          onpick: (key) => {
            const [oc, i, j] = partsOf(key);
            page.pin({ n: at.n, k: oc, i, j });
          },
          onpeek: page.peek,
          onmove: (dr, dc) =>
            page.pin({
              n: at.n,
              k,
              i: bounded(at.i + dr, p.out[0]),
              j: bounded(at.j + dc, p.out[1]),
            }),
        },
      ),
    ),
  );
  const notes = [];
  if (!whole)
    notes.push(
      t("note.window", { shown: `${rows.length}×${columns.length}`, all: p.out.join("×") }),
    );
  if (!every) notes.push(t("note.channels", { shown: channels.length, all: p.channels }));
  const images =
    p.n > 1
      ? el(
          "p",
          { class: "flag" },
          el("label", { for: "image" }, t("output.image")),
          el("input", {
            type: "number",
            id: "image",
            min: 0,
            max: p.n - 1,
            value: at.n,
            oninput: (event) =>
              page.pin({ ...at, n: bounded(Number(event.target.value) || 0, p.n) }),
          }),
        )
      : null;
  add(
    root,
    el("div", { class: "maps" }, maps),
    ...[images].filter(Boolean),
    ...notes.map((text) => note(text)),
    hint(
      t("output.hint", {
        at: [at.n, at.k, at.i, at.j].join(", "),
        value: show(valueOf(p, context.data, at), 4),
      }),
    ),
  );
}

const bounded = (value, size) => Math.max(0, Math.min(value, size - 1));
