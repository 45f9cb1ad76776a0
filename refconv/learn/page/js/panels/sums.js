// An output number in words and symbols: its products, its totals, the step it stands on.
import { show } from "../dom.js";
import { isPool } from "../engine/problem.js";
import { currentTerm } from "../view.js";
import { t } from "../words.js";

const LISTED = 36; // products written out

/** The sum in symbols, with the pinned cell's indices put in. */
export function symbolsOf(p, at) {
  const { n, k, i, j } = at;
  const c = p.groups > 1 ? `${Math.floor(k / (p.k / p.groups)) * p.perGroup}+c` : "c";
  const reach = (o, a, tap) => {
    const d = p.dilation[a] > 1 ? `${tap}·${p.dilation[a]}` : tap;
    return `${o}·${p.stride[a]}${p.padding[a] ? `−${p.padding[a]}` : ""}+${d}`;
  };
  const left = `y[${n},${k},${i},${j}]`;
  const at2 = `${reach(i, 0, "r")}, ${reach(j, 1, "s")}`;
  if (p.op === "max") return `${left} = max r,s  x[${n},${k}, ${at2}]`;
  if (p.op === "avg") return `${left} = Σr Σs x[${n},${k}, ${at2}] / cells`;
  if (p.op === "transposed") {
    const back = (o, a, tap) => `(${o}+${p.padding[a]}−${tap}·${p.dilation[a]})/${p.stride[a]}`;
    return (
      `${left} = Σc Σr Σs x[${n},${c}, ${back(i, 0, "r")}, ${back(j, 1, "s")}] · ` +
      `w[${c},${k % (p.k / p.groups)},r,s]${p.bias ? ` + b[${k}]` : ""}`
    );
  }
  return `${left} = Σc Σr Σs xpad[${n},${c}, ${at2}] · w[${k},c,r,s]${p.bias ? ` + b[${k}]` : ""}`;
}

/** Every product inside the image, and the result. */
export function spelledOut(context) {
  const { problem: p, terms, result } = context;
  const inside = terms.filter((x) => x.inside);
  const few = inside.slice(0, LISTED);
  const more =
    inside.length > few.length ? t("arithmetic.more", { n: inside.length - few.length }) : "";
  const value = show(result.value, 4);
  const bracket = (v) => (v < 0 ? `(${show(v, 2)})` : show(v, 2));
  if (p.op === "max") return `max(${few.map((x) => show(x.x, 2)).join(", ")}${more}) = ${value}`;
  if (p.op === "avg")
    return `(${few.map((x) => bracket(x.x)).join(" + ")}${more}) / ${result.divisor} = ${value}`;
  const products = few.map((x) => `${bracket(x.x)}·${bracket(x.w)}`).join(" + ") || "0";
  return `${products}${more}${p.bias ? ` + ${bracket(result.bias)}` : ""} = ${value}`;
}

/** "4 + 1 + 1 + b 1 = 7": the channels' sums, the bias, the result. */
export function totals(context) {
  const { problem: p, result, terms } = context;
  if (p.op === "max")
    return t("arithmetic.winner", {
      value: show(result.value, 4),
      at: result.winner
        ? `x[${context.at.n}, ${result.winner.c}, ${result.winner.i}, ${result.winner.j}]`
        : "–",
    });
  if (p.op === "avg")
    return `${show(result.sum, 4)} / ${result.divisor} = ${show(result.value, 4)}`;
  const bracket = (v) => (v < 0 ? `(${show(v, 4)})` : show(v, 4));
  const sums =
    result.sums.length <= 6
      ? result.sums.map(bracket).join(" + ")
      : `${result.sums.slice(0, 5).map(bracket).join(" + ")} + ${t("arithmetic.more_sums", {
          n: result.sums.length - 5,
          sum: bracket(result.sums.slice(5).reduce((a, b) => a + b)),
        })}`;
  return `${sums}${p.bias ? ` + b ${bracket(result.bias)}` : ""} = ${show(result.value, 4)}`;
}

/** The step that is shown, in one line. */
export function nowText(context) {
  const { problem: p, terms, step, at } = context;
  const x = currentTerm(context);
  if (!x) return t("arithmetic.start");
  const place = `x[${at.n}, ${x.c}, ${x.i}, ${x.j}]`;
  const of = { step: step + 1, all: terms.length };
  if (x.gap) return t("arithmetic.gap", { ...of, r: x.r, s: x.s });
  if (!x.inside)
    return t(isPool(p) ? "arithmetic.outside_pool" : "arithmetic.outside", { ...of, place });
  const done = terms.slice(0, step + 1).filter((y) => y.inside);
  if (p.op === "max")
    return t("arithmetic.best", {
      ...of,
      place,
      value: show(x.x, 4),
      best: show(Math.max(...done.map((y) => y.x)), 4),
    });
  const sum = done.reduce((all, y) => all + (p.op === "avg" ? y.x : y.product), 0);
  if (p.op === "avg")
    return t("arithmetic.adds", { ...of, place, value: show(x.x, 4), sum: show(sum, 4) });
  return t("arithmetic.now", {
    ...of,
    place,
    weight: `w[${x.at.join(", ")}, ${x.r}, ${x.s}]`,
    x: show(x.x, 4),
    w: show(x.w, 4),
    product: show(x.product, 4),
    sum: show(sum, 4),
  });
}
