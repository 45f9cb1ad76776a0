// B: the padded input, one grid a channel. Padding is grey, what the floor leaves over is hatched.
import { grid, partsOf, xKey } from "../cells.js";
import { add, el, note, show } from "../dom.js";
import { readersOf } from "../engine/terms.js";
import { cellSize, channelView, currentTerm, inputView } from "../view.js";
import { t } from "../words.js";
import { editor } from "./editor.js";

/** What a position is: inside, padding, left over, beyond (ceil_mode), and a window's corner. */
function kindOf(p, i, j) {
  if (p.op === "transposed") return "x";
  const at = [i, j];
  const words = [];
  const beyond = at.some((v, a) => v >= p.size[a] + p.padding[a]);
  const pad = at.some((v, a) => v < 0 || v >= p.size[a]);
  words.push(beyond ? "beyond" : pad ? "pad" : "x");
  if (at.some((v, a) => p.over[a] > 0 && v >= p.size[a] + p.padding[a] - p.over[a]))
    words.push("over");
  const starts = at.every((v, a) => {
    const o = (v + p.padding[a]) / p.stride[a];
    return Number.isInteger(o) && o < p.out[a];
  });
  return starts ? `${words.join(" ")} corner` : words.join(" ");
}

/** Draw panel B. */
export function input(root, page, context) {
  const { problem: p, data, at, state } = context;
  const { rows, columns, whole } = inputView(p, at);
  const { channels, whole: every } = channelView(p, at, currentTerm(context));
  const size = cellSize(columns.length);
  const maps = channels.map((c) =>
    el(
      "figure",
      {},
      el("figcaption", {}, `x[${at.n}, ${c}]`),
      grid(
        "input",
        rows,
        columns,
        (i, j) => {
          const kind = kindOf(p, i, j);
          const empty = /pad|beyond/.test(kind);
          const edited = state.edits.x?.[`${at.n}.${c}.${i}.${j}`] !== undefined;
          return {
            key: xKey(c, i, j),
            kind: kind + (edited ? " edited" : ""),
            text: /beyond/.test(kind)
              ? ""
              : empty
                ? p.op === "max"
                  ? ""
                  : "0"
                : show(data.x(at.n, c, i, j), 1),
          };
        },
        {
          size,
          heads: true,
          id: `input-${c}`,
          label: t("input.label", { c }),
          onpick: (key) => page.pick("x", partsOf(key)),
          onpeek: page.peek,
          onmove: (dr, dc) => page.moveSelection("x", dr, dc, [c, 0, 0]),
          onenter: () => page.focusEditor("x"),
        },
      ),
    ),
  );
  const notes = [];
  if (!whole)
    notes.push(
      t("note.window", {
        shown: `${rows.length}×${columns.length}`,
        all: `${p.size[0] + 2 * p.padding[0]}×${p.size[1] + 2 * p.padding[1]}`,
      }),
    );
  if (!every) notes.push(t("note.channels", { shown: channels.length, all: p.c }));
  add(
    root,
    el("div", { class: "maps" }, maps),
    ...notes.map((text) => note(text)),
    el(
      "ul",
      { class: "legend" },
      legend(p, "pad", t("legend.pad"), Math.max(...p.padding) > 0 && p.op !== "transposed"),
      legend(p, "over", t("legend.over"), Math.max(...p.over) > 0),
      legend(p, "beyond", t("legend.beyond"), Math.min(...p.over) < 0),
    ),
    editor(page, context, "x"),
    el("p", { class: "hint", id: "readers" }, readersText(context)),
  );
}

function legend(p, kind, text, used) {
  return used ? el("li", {}, el("span", { class: `swatch ${kind}` }), text) : null;
}

/** In words: which outputs use the selected input cell. */
export function readersText(context, key) {
  const { problem: p, state } = context;
  const chosen = key?.startsWith("x/")
    ? partsOf(key)
    : state.select?.which === "x"
      ? state.select.at
      : null;
  if (!chosen || chosen[0] >= p.c) return t("input.hint");
  const { rows, columns, first, channels } = readersOf(p, ...chosen);
  const cells = rows.length * columns.length;
  if (!cells) return t("input.unread", { at: chosen.join(", ") });
  const list = (values) => (values.length > 1 ? `${values[0]}…${values.at(-1)}` : values[0]);
  const maps = channels > 1 ? `${first}…${first + channels - 1}` : first;
  return t("input.read", {
    at: chosen.join(", "),
    cells,
    channels,
    maps,
    rows: list(rows),
    columns: list(columns),
  });
}
