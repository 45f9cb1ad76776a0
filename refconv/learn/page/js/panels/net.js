// I: the stack of layers, and what one cell of a layer sees of the picture.
import { add, el, grouped, note, svg } from "../dom.js";
import { seen } from "../engine/receptive.js";
import { taps } from "../engine/window.js";
import { WINDOWED } from "../presets.js";
import { t } from "../words.js";

const SIDE = 200;
const EDGE = 16;

function strip(page, context) {
  const { chain, own, layer, state } = context;
  return el(
    "ol",
    { class: "strip", "aria-label": t("net.layers") },
    chain.map((step, i) => {
      const size =
        step.field && WINDOWED.includes(step.op) && step.op !== "transposed" // varies by cell
          ? t("net.field", { size: [step.field[0].size, step.field[1].size].join("×") })
          : "";
      const parts = [
        el("b", {}, step.title),
        el("span", {}, step.output.slice(1).join("×")),
        el(
          "small",
          {},
          [step.params ? t("net.params", { n: grouped(step.params) }) : "", size]
            .filter(Boolean)
            .join(" · "),
        ),
      ];
      return el(
        "li",
        {},
        WINDOWED.includes(step.op) && !own
          ? el(
              "button",
              {
                type: "button",
                id: `layer-${i}`,
                "aria-pressed": String(i === layer),
                onclick: () => page.open(state.preset, i),
              },
              parts,
            )
          : el("div", { class: own ? "stage on" : "stage" }, parts),
      );
    }),
  );
}

/** First and last input row (or column) that cell o of a layer sees. */
function spanOf(context, layer, o, a) {
  const { problem: p } = layer;
  if (!p || p.op !== "transposed") return seen(layer.field[a], o);
  const reached = [];
  for (let i = 0; i < p.size[a]; i++)
    if (taps(i, p.kernel[a], p.stride[a], p.padding[a], p.dilation[a]).includes(o)) reached.push(i);
  return reached.length ? [reached[0], reached.at(-1)] : null;
}

/** A square picture of a map with one cell or box marked in it. */
function map(size, box, kind, label, more = {}) {
  const scale = SIDE / Math.max(...size);
  const [height, width] = size.map((v) => v * scale);
  const edge = EDGE;
  const clear = (v, most) => Math.max(-edge, Math.min(v, most + edge));
  const nodes = [svg("rect", { x: edge, y: edge, width, height, class: `ground ${kind}`, rx: 3 })];
  if (Math.max(...size) <= 32)
    for (const [a, count] of size.entries())
      for (let i = 1; i < count; i++)
        nodes.push(
          svg(
            "line",
            a
              ? {
                  x1: edge + i * scale,
                  x2: edge + i * scale,
                  y1: edge,
                  y2: edge + height,
                  class: "ruling",
                }
              : {
                  y1: edge + i * scale,
                  y2: edge + i * scale,
                  x1: edge,
                  x2: edge + width,
                  class: "ruling",
                },
          ),
        );
  if (box) {
    const [[top, bottom], [left, right]] = box.map(([from, to], a) => [
      clear(from * scale, [height, width][a]),
      clear((to + 1) * scale, [height, width][a]),
    ]);
    nodes.push(
      svg("rect", {
        x: edge + left,
        y: edge + top,
        width: right - left,
        height: bottom - top,
        class: `box ${kind}`,
        rx: 2,
      }),
    );
  }
  const across = width + 2 * edge;
  const down = height + 2 * edge;
  return svg(
    "svg",
    {
      width: across,
      height: down,
      viewBox: `0 0 ${across} ${down}`,
      class: "field-map",
      "aria-label": label,
      ...more,
    },
    nodes,
  );
}

/** Draw panel I. */
export function net(root, page, context) {
  const { chain, layer: index, state } = context;
  const layer = chain[index];
  const input = chain[0].input.slice(2);
  add(root, strip(page, context));
  const total = chain.reduce((all, step) => all + step.params, 0);
  add(root, chain.length > 1 && note(t("net.total", { n: grouped(total) })));
  const size = layer.output.slice(2);
  const wanted = state.cell ?? size.map((v) => Math.floor((v - 1) / 2));
  const cell = wanted.map((v, a) => Math.max(0, Math.min(v, size[a] - 1)));
  const spans = cell.map((o, a) => spanOf(context, layer, o, a));
  const box = spans.every(Boolean) ? spans : null;
  const output = map(
    size,
    cell.map((o) => [o, o]),
    "y",
    t("net.drag"),
    { id: "field-output", tabindex: 0, role: "application" },
  );
  const to = (event) => {
    const frame = output.getBoundingClientRect();
    const scale = SIDE / Math.max(...size);
    const spot = [event.clientY - frame.top, event.clientX - frame.left];
    page.change({
      cell: spot.map((v, a) => Math.max(0, Math.min(Math.floor((v - EDGE) / scale), size[a] - 1))),
    });
  };
  output.addEventListener("pointerdown", (event) => {
    to(event);
    const follow = (next) => to(next);
    const drop = () => {
      removeEventListener("pointermove", follow);
      removeEventListener("pointerup", drop);
    };
    addEventListener("pointermove", follow);
    addEventListener("pointerup", drop);
  });
  const arrows = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  output.addEventListener("keydown", (event) => {
    if (!(event.key in arrows)) return;
    event.preventDefault();
    event.stopPropagation();
    page.change({
      cell: cell.map((v, a) => Math.max(0, Math.min(v + arrows[event.key][a], size[a] - 1))),
    });
  });
  add(
    root,
    el(
      "div",
      { class: "fields" },
      el(
        "figure",
        {},
        el("figcaption", {}, t("net.input", { size: input.join("×") })),
        map(input, box, "x", t("net.sees")),
      ),
      el(
        "figure",
        {},
        el("figcaption", {}, t("net.output", { name: layer.title, size: size.join("×") })),
        output,
      ),
    ),
    el(
      "p",
      { class: "equation small", id: "sees" },
      box ? sentence(layer, cell, spans, input) : t("net.nothing"),
    ),
  );
}

function sentence(layer, cell, spans, input) {
  const shown = ([from, to]) => `${from}…${to}`.replaceAll("-", "−");
  const outside = spans.some(([from, to], a) => from < 0 || to >= input[a]);
  return `${t("net.sentence", {
    cell: cell.join(", "),
    rows: shown(spans[0]),
    columns: shown(spans[1]),
    size: spans.map(([from, to]) => to - from + 1).join("×"),
  })}${outside ? ` ${t("net.outside")}` : ""}`;
}
