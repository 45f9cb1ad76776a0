// Which part of a large map is drawn: around the pinned output, a few channels, never all of it.
import { range, windowOf } from "./cells.js";
import { isPool } from "./engine/problem.js";
import { firstChannel } from "./engine/terms.js";

/** Rows, columns and channels drawn at most. */
export const MOST = 10;
export const CHANNELS = 3;

/** Size in px of a cell in a map of so many columns. */
export const cellSize = (columns) => (columns > 8 ? 24 : 26);

/** Input positions the windows of the pinned output touch on axis a: [first, last]. */
function touched(p, at, a) {
  const o = a ? at.j : at.i;
  if (p.op === "transposed") {
    const reach = p.dilation[a] * (p.kernel[a] - 1);
    return [
      Math.floor((o + p.padding[a] - reach) / p.stride[a]),
      Math.floor((o + p.padding[a]) / p.stride[a]),
    ];
  }
  const first = o * p.stride[a] - p.padding[a];
  return [first, first + p.dilation[a] * (p.kernel[a] - 1)];
}

/** Rows and columns of the input to draw, padding included; and whether that is all. */
export function inputView(p, at) {
  const spans = [0, 1].map((a) => {
    const low = p.op === "transposed" ? 0 : -p.padding[a];
    const high =
      p.op === "transposed" ? p.size[a] : p.size[a] + p.padding[a] + Math.max(0, -p.over[a]);
    return [low, high, ...windowOf(low, high, ...touched(p, at, a), MOST)];
  });
  return {
    rows: range(spans[0][2], spans[0][3]),
    columns: range(spans[1][2], spans[1][3]),
    whole: spans.every(([low, high, from, to]) => low === from && high === to),
  };
}

/** Rows and columns of the output to draw. */
export function outputView(p, at) {
  const [rows, columns] = [at.i, at.j].map((o, a) => windowOf(0, p.out[a], o, o, MOST));
  return {
    rows: range(...rows),
    columns: range(...columns),
    whole: p.out[0] <= MOST && p.out[1] <= MOST,
  };
}

/** Input channels to draw: those that the pinned output's group reads, around the current term. */
export function channelView(p, at, term) {
  const first = firstChannel(p, at.k);
  const now = term?.c ?? first;
  const [from, to] =
    isPool(p) || p.perGroup < CHANNELS
      ? windowOf(0, p.c, now, now, CHANNELS)
      : windowOf(first, first + p.perGroup, now, now, CHANNELS);
  return { channels: range(from, to), whole: p.c <= to - from };
}

/** Output channels to draw. */
export function filterView(p, at, most = CHANNELS) {
  const [from, to] = windowOf(0, p.channels, at.k, at.k, most);
  return { channels: range(from, to), whole: p.channels <= most };
}

/** The term that the step stands on, or undefined before the first. */
export const currentTerm = (context) => context.terms[context.step];
