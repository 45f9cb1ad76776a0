// F: the size formula with its numbers put in, as torch, cs231n and d2l write it.
import { add, button, el, hint, note } from "../dom.js";
import { effectiveKernel } from "../engine/window.js";
import { isPool } from "../engine/problem.js";
import { paddingsFor } from "../engine/solve.js";
import { t } from "../words.js";

/** A number of the formula that can be pointed at: the cells it stands for light up. */
function term(page, context, name, value) {
  const on = context.state.term === name;
  return button(String(value), () => page.change({ term: on ? "" : name }), {
    class: `term ${name}`,
    "aria-pressed": String(on),
    title: t(`term.${name}`),
    "aria-label": `${value}: ${t(`term.${name}`)}`,
  });
}

/** The formula of one axis, with torch's letters and then with numbers. */
function torch(page, context, a) {
  const { problem: p } = context;
  const n = (name, value) => term(page, context, name, value);
  const [size, k, s, pad, d, op] = [p.size, p.kernel, p.stride, p.padding, p.dilation, p.extra].map(
    (v) => v[a],
  );
  const X = "HW"[a];
  if (p.op === "transposed")
    return {
      letters: `${X}_out = (${X} − 1)·s − 2p + d·(k − 1) + op + 1`,
      numbers: [
        "(",
        n("size", size),
        ` − 1)·`,
        n("stride", s),
        " − 2·",
        n("padding", pad),
        ` + ${d}·(`,
        n("kernel", k),
        ` − 1) + ${op} + 1 = `,
        n("out", p.out[a]),
      ],
    };
  const room = size + 2 * pad - effectiveKernel(k, d);
  const ceil = isPool(p) && p.ceil;
  const [open, close] = ceil ? ["⌈", "⌉"] : ["⌊", "⌋"];
  const lost = ceil && Math.ceil(room / s) + 1 > p.out[a];
  return {
    letters: `${X}_out = ${open}(${X} + 2p − d·(k − 1) − 1) / s${close} + 1`,
    numbers: [
      open,
      "(",
      n("size", size),
      " + 2·",
      n("padding", pad),
      ` − ${d}·(`,
      n("kernel", k),
      " − 1) − 1) / ",
      el("span", { class: "joined" }, n("stride", s), close),
      ` + 1 = ${open}${room}/${s}${close} + 1 = `,
      `${ceil ? Math.ceil(room / s) : Math.floor(room / s)} + 1${lost ? " − 1" : ""} = `,
      n("out", p.out[a]),
    ],
    lost,
  };
}

/** The same rule in the letters of two courses; dilation enters as the effective kernel. */
export function others(p, a) {
  const [size, s, pad] = [p.size[a], p.stride[a], p.padding[a]];
  const extent = effectiveKernel(p.kernel[a], p.dilation[a]);
  const [X, x] = ["HW"[a], "hw"[a]];
  const out = p.out[a];
  const plus = p.extra[a] ? ` + ${p.extra[a]}` : "";
  if (p.op === "transposed")
    return [
      [
        "cs231n",
        `${X}₂ = S·(${X}₁ − 1) + F − 2P`,
        `${s}·(${size} − 1) + ${extent} − 2·${pad}${plus} = ${out}`,
      ],
      [
        "d2l",
        `n′_${x} = s_${x}·(n_${x} − 1) + k_${x} − p_${x}`,
        `${s}·(${size} − 1) + ${extent} − ${2 * pad}${plus} = ${out}`,
      ],
    ];
  const exact = (size - extent + 2 * pad) / s + 1;
  const ceil = isPool(p) && p.ceil;
  const open = ceil ? "⌈" : "⌊";
  const close = ceil ? "⌉" : "⌋";
  const rounded = Number.isInteger(exact) ? "" : ` = ${+exact.toFixed(2)} → ${out}`;
  return [
    [
      "cs231n",
      `${X}₂ = (${X}₁ − F + 2P) / S + 1`,
      `(${size} − ${extent} + 2·${pad}) / ${s} + 1${rounded || ` = ${out}`}`,
    ],
    [
      "d2l",
      `${open}(n_${x} − k_${x} + p_${x} + s_${x}) / s_${x}${close}`,
      `${open}(${size} − ${extent} + ${2 * pad} + ${s}) / ${s}${close} = ${out}`,
    ],
  ];
}

function axis(page, context, a) {
  const { problem: p } = context;
  const shown = torch(page, context, a);
  const over = p.over[a];
  const notes = [];
  if (p.op !== "transposed")
    notes.push(
      over > 0
        ? t("formula.over")
        : over < 0
          ? t("formula.beyond", { over: -over })
          : t("formula.exact"),
    );
  if (shown.lost) notes.push(t("formula.lost"));
  return el(
    "div",
    { class: "axis" },
    el("p", { class: "letters" }, shown.letters),
    el("p", { class: "equation" }, shown.numbers),
    note(notes.join(" "), over > 0 ? [" ", term(page, context, "over", over)] : ""),
  );
}

function answer(p, wanted) {
  if (!Number.isInteger(wanted) || wanted < 1) return { text: t("solve.ask"), paddings: [] };
  const each = [0, 1].map((a) =>
    paddingsFor(
      p.op,
      p.size[a],
      wanted,
      p.kernel[a],
      p.stride[a],
      p.dilation[a],
      p.extra[a],
      isPool(p) && p.ceil,
    ),
  );
  const paddings = each[0].paddings.filter((v) => each[1].paddings.includes(v));
  if (paddings.length === 1) return { text: t("solve.one", { p: paddings[0], wanted }), paddings };
  if (paddings.length)
    return { text: t("solve.several", { p: paddings.join(", "), wanted }), paddings };
  const { total } = each[0];
  if (total !== null && each[1].total === total)
    return {
      text: t("solve.asymmetric", {
        wanted,
        low: Math.floor(total / 2),
        high: total - Math.floor(total / 2),
      }),
      paddings,
    };
  return { text: t("solve.none", { wanted }), paddings };
}

function solver(page, context) {
  const { problem: p, state } = context;
  const wanted = state.wanted ?? p.out[0];
  const box = el("input", {
    type: "text",
    inputmode: "numeric",
    id: "wanted",
    value: String(wanted),
    oninput: () => page.change({ wanted: Number(box.value) }),
  });
  const { text, paddings } = answer(p, wanted);
  return el(
    "div",
    { class: "solver" },
    el("label", { for: "wanted" }, t("solve.label")),
    box,
    el("span", { class: "solved", id: "solved", "aria-live": "polite" }, text),
    paddings
      .filter((v) => v !== p.padding[0] || v !== p.padding[1])
      .slice(0, 3)
      .map((v) =>
        button(t("solve.use", { p: v }), () => page.change({ padding: [v, v] }), {
          id: `use-${v}`,
        }),
      ),
  );
}

/** Draw panel F. */
export function formula(root, page, context) {
  const { problem: p } = context;
  const alike = ["size", "kernel", "stride", "padding", "dilation", "extra"].every(
    (name) => p[name][0] === p[name][1],
  );
  const axes = alike ? [0] : [0, 1];
  add(
    root,
    el(
      "div",
      { class: "axes" },
      axes.map((a) => axis(page, context, a)),
    ),
    alike ? note(t("formula.alike")) : "",
    hint(t("formula.hint")),
    el(
      "div",
      { class: "notations" },
      others(p, axes[0]).map(([name, letters, numbers]) =>
        el(
          "div",
          {},
          el("h3", {}, name),
          el("p", { class: "letters" }, letters),
          el("p", { class: "equation small" }, numbers),
        ),
      ),
    ),
    p.dilation.some((d) => d > 1)
      ? note(
          t("formula.dilated", {
            extent: effectiveKernel(p.kernel[0], p.dilation[0]),
            k: p.kernel[0],
            d: p.dilation[0],
          }),
        )
      : "",
    solver(page, context),
  );
}
