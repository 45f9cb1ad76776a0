// H: which input channels each output channel reads.
import { windowOf, range } from "../cells.js";
import { add, button, el, grouped, note, svg } from "../dom.js";
import { isPool } from "../engine/problem.js";
import { firstChannel } from "../engine/terms.js";
import { t } from "../words.js";

const DOTS = 12;

const greatest = (a, b) => (b ? greatest(b, a % b) : a);

/** The numbers of groups that divide both channel counts. */
export function divisors(c, k) {
  const most = greatest(c, k);
  return range(1, most + 1).filter((g) => most % g === 0);
}

function wiring(page, context) {
  const { problem: p, at } = context;
  const pool = isPool(p);
  const first = firstChannel(p, at.k);
  const left = range(...windowOf(0, p.c, first, first + p.perGroup - 1, DOTS));
  const right = range(...windowOf(0, p.channels, at.k, at.k, DOTS));
  const tall = Math.max(left.length, right.length);
  const step = 24;
  const height = tall * step + 8;
  const y = (list, at2) => 4 + (at2 + (tall - list.length) / 2 + 0.5) * step;
  const [x0, x1] = [64, 236];
  const lines = [];
  const labels = [];
  right.forEach((k, b) => {
    const from = firstChannel(p, k);
    const lit = k === at.k;
    left.forEach((c, a) => {
      if (pool ? c !== k : c < from || c >= from + p.perGroup) return;
      lines.push([
        lit,
        svg("line", {
          x1: x0 + 6,
          y1: y(left, a),
          x2: x1 - 6,
          y2: y(right, b),
          class: lit ? "wire lit" : "wire",
        }),
      ]);
    });
  });
  left.forEach((c, a) =>
    labels.push(
      svg("circle", { cx: x0, cy: y(left, a), r: 6, class: "dot x" }),
      svg("text", { x: x0 - 12, y: y(left, a), class: "end" }, `x[${c}]`),
    ),
  );
  right.forEach((k, b) =>
    labels.push(
      svg(
        "g",
        { "data-key": `filter/${k}`, class: "end-dot" },
        svg("rect", { x: x1 - 10, y: y(right, b) - 11, width: 64, height: 22, class: "hit" }),
        svg("circle", {
          cx: x1,
          cy: y(right, b),
          r: k === at.k ? 8 : 6,
          class: `dot y${k === at.k ? " lit" : ""}`,
        }),
        svg("text", { x: x1 + 14, y: y(right, b), class: "begin" }, `y[${k}]`),
      ),
    ),
  );
  const picture = svg(
    "svg",
    {
      width: 300,
      height,
      viewBox: `0 0 300 ${height}`,
      class: "wiring",
      role: "img",
      "aria-label": t("groups.label"),
    },
    lines.sort((a, b) => a[0] - b[0]).map((pair) => pair[1]),
    labels,
  );
  picture.addEventListener("click", (event) => {
    const key = event.target.closest("[data-key]")?.dataset.key;
    if (key) page.change({ at: { ...at, k: Number(key.split("/")[1]) } });
  });
  return { picture, whole: left.length === p.c && right.length === p.channels };
}

/** Draw panel H. */
export function groups(root, page, context) {
  const { problem: p } = context;
  const { picture, whole } = wiring(page, context);
  const facts = el("div", { class: "facts" });
  add(root, el("div", { class: "beside" }, picture, facts));
  if (isPool(p)) {
    add(facts, note(t("groups.pool")));
    return;
  }
  const steps = divisors(p.c, p.k);
  const now = steps.indexOf(p.groups);
  const slide = el("input", {
    type: "range",
    min: 0,
    max: steps.length - 1,
    id: "groups-slide",
    "aria-label": t("field.groups"),
    disabled: steps.length < 2,
    oninput: () => page.change({ groups: steps[Number(slide.value)] }),
  });
  slide.value = now;
  slide.setAttribute("aria-valuetext", String(p.groups));
  const depthwise = p.groups === p.c;
  const first = firstChannel(p, context.at.k);
  const one = p.k % p.c ? Math.ceil(p.k / p.c) * p.c : p.k;
  add(
    facts,
    el("p", { class: "equation" }, `g = ${p.groups}`),
    el("div", { class: "scale" }, el("span", {}, "1"), slide, el("span", {}, String(steps.at(-1)))),
    el(
      "p",
      { class: "equation small", id: "groups-weight" },
      `${t("sum.weight")} ${p.weightShape.join("×")} · `,
      t("net.params", { n: grouped(p.params) }),
    ),
    el(
      "p",
      {},
      t(p.groups === 1 ? "groups.one" : depthwise && p.c > 1 ? "groups.depthwise" : "groups.some", {
        channels: p.perGroup,
        groups: p.groups,
        each: p.k / p.groups,
        k: context.at.k,
        from: first,
        to: first + p.perGroup - 1,
      }),
    ),
    steps.length < 2 && note(t("groups.prime", { c: p.c, k: p.k })),
    el(
      "div",
      { class: "row" },
      !depthwise &&
        button(t("groups.make", { c: p.c, k: one }), () => page.change({ groups: p.c, k: one }), {
          id: "depthwise",
        }),
      p.groups > 1 &&
        button(t("groups.back"), () => page.change({ groups: 1 }), { id: "groups-one" }),
    ),
    !whole && note(t("groups.cut", { c: p.c, k: p.channels })),
  );
}
