// What belongs together: the cells that an output reads, and the outputs that a cell goes into.
import { bKey, partsOf, tKey, wKey, xKey, yKey } from "./cells.js";
import { isPool } from "./engine/problem.js";
import { readersOf, termsOf } from "./engine/terms.js";
import { currentTerm } from "./view.js";

/** Keys of the cells that the pinned output reads, and of those of the current term. */
export function linked(context) {
  const { problem: p, terms, at } = context;
  const now = currentTerm(context);
  const keys = (list) =>
    list.flatMap((x) => [
      ...(x.gap ? [] : [xKey(x.c, x.i, x.j)]),
      ...(x.at && !x.gap ? [wKey(...x.at, x.r, x.s)] : []),
    ]);
  const few = terms.length > 600 ? terms.filter((x) => Math.abs(x.ic - (now?.ic ?? 0)) < 4) : terms;
  return {
    window: keys(few),
    now: now ? [...keys([now]), tKey(now.t), `g/${now.t}`] : [],
    winner:
      p.op === "max" && context.result.winner
        ? [tKey(context.result.winner.t), ...keys([context.result.winner])]
        : [],
    bias: p.bias && !isPool(p) ? [bKey(at.k)] : [],
  };
}

/** Keys that belong to a cell under the pointer. */
export function peeked(key, context) {
  const { problem: p, data, at } = context;
  const parts = partsOf(key);
  if (key.startsWith("y/")) {
    const [k, i, j] = parts;
    const terms = termsOf(p, data, { n: at.n, k, i, j });
    return [
      key,
      ...terms
        .slice(0, 4000)
        .flatMap((x) => [
          ...(x.gap ? [] : [xKey(x.c, x.i, x.j)]),
          ...(x.at && !x.gap ? [wKey(...x.at, x.r, x.s)] : []),
        ]),
    ];
  }
  if (key.startsWith("x/")) {
    const { rows, columns, first, channels } = readersOf(p, ...parts);
    const found = [key];
    for (let k = first; k < Math.min(first + channels, first + 64); k++)
      for (const i of rows) for (const j of columns) found.push(yKey(k, i, j));
    return found;
  }
  return [key];
}
