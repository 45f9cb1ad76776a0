// G: the same layer in three ways: as loops, as a matrix product of columns, as stamps.
import { add, choice, el } from "../dom.js";
import { isPool } from "../engine/problem.js";
import { columns, stampMatrix } from "./columns.js";
import { loops, scatter } from "./ways.js";
import { t } from "../words.js";

/** Draw panel G. */
export function matmul(root, page, context) {
  const { problem: p, state } = context;
  const pool = isPool(p);
  const views = ["loops", "im2col", ...(pool ? [] : ["scatter"])];
  const view = views.includes(state.view) ? state.view : "im2col";
  add(
    root,
    choice(
      t("matmul.view"),
      views.map((name) => [name, t(`view.${name}`)]),
      view,
      (name) => page.change({ view: name }),
    ),
  );
  const body = el("div", { class: "body" });
  add(root, body);
  if (view === "loops") loops(body, page, context);
  else if (view === "scatter") scatter(body, page, context);
  else (p.op === "transposed" ? stampMatrix : columns)(body, page, context);
}
