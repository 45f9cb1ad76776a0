// C: the filter of the pinned output channel, one slice a channel it reads, and its bias.
import { bKey, grid, partsOf, range, windowOf, wKey } from "../cells.js";
import { add, button, el, grouped, note, show } from "../dom.js";
import { isPool } from "../engine/problem.js";
import { weightAt } from "../engine/terms.js";
import { channelView, currentTerm, filterView } from "../view.js";
import { firstChannel } from "../engine/terms.js";
import { t } from "../words.js";
import { editor } from "./editor.js";

/** Draw panel C. */
export function filters(root, page, context) {
  const { problem: p, data, at, state } = context;
  if (isPool(p)) {
    add(root, note(t(`filters.${p.op}`)));
    return;
  }
  const pills = filterView(p, at, 8);
  add(
    root,
    el(
      "div",
      { class: "pills", role: "radiogroup", "aria-label": t("filters.pick") },
      pills.channels.map((k) =>
        button(`w${k}`, () => page.change({ at: { ...at, k } }), {
          role: "radio",
          "aria-checked": String(k === at.k),
          id: `filter-${k}`,
        }),
      ),
    ),
  );
  const first = firstChannel(p, at.k);
  const { channels } = channelView(p, at, currentTerm(context));
  const slices =
    p.perGroup < 3
      ? range(0, p.perGroup)
      : channels.map((c) => c - first).filter((ic) => ic >= 0 && ic < p.perGroup);
  const [rows, columns] = [0, 1].map((a) => range(...windowOf(0, p.kernel[a], 0, 0, 11)));
  const maps = slices.map((ic) => {
    const [a, b] = weightAt(p, at.k, ic);
    return el(
      "figure",
      {},
      el("figcaption", {}, `w[${a}, ${b}]`, el("span", {}, ` × x[${first + ic}]`)),
      grid(
        "filters",
        rows,
        columns,
        (r, s) => ({
          key: wKey(a, b, r, s),
          text: show(data.w(a, b, r, s), 1),
          kind: state.edits.w?.[`${a}.${b}.${r}.${s}`] !== undefined ? "w edited" : "w",
        }),
        {
          size: 26,
          heads: true,
          id: `filters-${ic}`,
          label: t("filters.label", { a, b }),
          onpick: (key) => page.pick("w", partsOf(key)),
          onpeek: page.peek,
          onmove: (dr, dc) => page.moveSelection("w", dr, dc, [a, b, 0, 0]),
          onenter: () => page.focusEditor("w"),
        },
      ),
    );
  });
  const bias = el(
    "figure",
    {},
    el("figcaption", {}, `b[${at.k}]`),
    grid(
      "filters",
      [0],
      [0],
      () => ({ key: bKey(at.k), text: show(context.result.bias, 1), kind: "b" }),
      {
        size: 26,
        id: "bias",
        label: t("filters.bias"),
        onpick: () => page.pick("b", [at.k]),
        onmove: () => page.pick("b", [at.k]),
        onenter: () => page.focusEditor("w"),
      },
    ),
  );
  add(root, el("div", { class: "maps" }, maps, p.bias ? bias : null));
  const notes = [
    t(p.bias ? "filters.count" : "filters.count_bare", {
      filters: grouped(p.k),
      channels: grouped(p.perGroup),
      kernel: p.kernel.join("×"),
      slices: grouped(p.k * p.perGroup),
      params: grouped(p.params),
    }),
  ];
  if (slices.length < p.perGroup)
    notes.push(t("note.channels", { shown: slices.length, all: p.perGroup }));
  if (!pills.whole) notes.push(t("note.filters", { shown: pills.channels.length, all: p.k }));
  const flip = el("input", {
    type: "checkbox",
    id: "flip",
    checked: state.flip,
    onchange: () => page.change({ flip: flip.checked }),
  });
  add(
    root,
    ...notes.map((text) => note(text)),
    p.op === "conv" &&
      el("p", { class: "flag" }, flip, el("label", { for: "flip" }, t("filters.flip"))),
    p.op === "conv" && state.flip && el("p", { class: "note strong" }, t("filters.flipped")),
    editor(page, context, "w"),
  );
}
