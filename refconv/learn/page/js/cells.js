// Grids of numbers in SVG, and the marks that link them. Every cell has a key such as "x/0/2/1";
// panels register what they draw, so that a mark set on a key shows in every panel at once.
import { svg } from "./dom.js";

const drawn = new Map(); // panel → Map(key → [elements])

/** Forget what a panel drew; called before it is drawn again. */
export function forget(panel) {
  drawn.set(panel, new Map());
}

function register(panel, key, node) {
  const cells = drawn.get(panel);
  if (!cells.has(key)) cells.set(key, []);
  cells.get(key).push(node);
}

/** Every element that shows one of `keys`. */
export function showing(keys) {
  return [...drawn.values()].flatMap((cells) => [...keys].flatMap((key) => cells.get(key) ?? []));
}

const marked = new Map(); // class → elements that have it

/** Give the cells of `keys` a class, and take it from all others. */
export function mark(name, keys) {
  for (const node of marked.get(name) ?? []) node.classList.remove(name);
  const nodes = showing(keys);
  for (const node of nodes) node.classList.add(name);
  marked.set(name, nodes);
}

/** A run of at most `most` of start … stop-1 that holds first … last as well as it can. */
export function windowOf(start, stop, first, last, most) {
  if (stop - start <= most) return [start, stop];
  const middle = Math.floor((Math.max(first, start) + Math.min(last, stop - 1) + 1 - most) / 2);
  const from = Math.max(start, Math.min(Math.min(middle, first), stop - most));
  return [from, from + most];
}

export const range = (start, stop) =>
  Array.from({ length: Math.max(0, stop - start) }, (_, i) => start + i);

function cellNode(panel, cell, x, y, width, height) {
  const shapes = [svg("rect", { x: 1, y: 1, width: width - 2, height: height - 2, rx: 3 })];
  if (/\bover\b/.test(cell.kind ?? ""))
    shapes.push(svg("path", { class: "hatch", d: hatch(width, height) }));
  if (cell.text !== undefined)
    shapes.push(
      svg("text", { x: width / 2, y: height / 2, class: fitting(cell.text, width) }, cell.text),
    );
  const node = svg(
    "g",
    { class: `cell ${cell.kind ?? ""}`, transform: `translate(${x} ${y})`, "data-key": cell.key },
    shapes,
  );
  if (cell.key) register(panel, cell.key, node);
  return node;
}

/** The class of a text's size: monospaced, so its width is known. */
function fitting(text, width) {
  const room = (width - 4) / String(text).length;
  return room > 7.4 ? "number" : room > 5.9 ? "number long" : "number longer";
}

/** Diagonal lines inside a cell: a pattern that needs no colour. */
function hatch(width, height) {
  const lines = [];
  for (let at = 6; at < width + height - 6; at += 6) {
    const [x0, y0] = at < height - 3 ? [3, at] : [at - height + 6, height - 3];
    const [x1, y1] = at < width - 3 ? [at, 3] : [width - 3, at - width + 6];
    if (x0 < x1) lines.push(`M${x0} ${y0}L${x1} ${y1}`);
  }
  return lines.join("");
}

/**
 * A grid: `cell(r, c)` gives {text, kind, key} or null for a place without one.
 * Options: size (px of a cell) or width and height, heads (show row and column numbers), label (for
 * readers), id, onpick(key), onpeek(key or null), onmove(dr, dc) for the arrow keys.
 */
export function grid(panel, rows, columns, cell, options = {}) {
  const width = options.width ?? options.size ?? 26;
  const height = options.height ?? options.size ?? 26;
  const head = options.heads ? 18 : 0;
  const tall = head && 14;
  const nodes = [];
  if (head) {
    const text = (value, x, y) => svg("text", { x, y, class: "head" }, value);
    columns.forEach((c, at) => nodes.push(text(c, head + (at + 0.5) * width, tall / 2)));
    rows.forEach((r, at) => nodes.push(text(r, head / 2 - 1, tall + (at + 0.5) * height)));
  }
  rows.forEach((r, i) =>
    columns.forEach((c, j) => {
      const made = cell(r, c);
      if (made)
        nodes.push(cellNode(panel, made, head + j * width, tall + i * height, width, height));
    }),
  );
  const across = head + columns.length * width;
  const down = tall + rows.length * height;
  const picture = svg(
    "svg",
    {
      class: "grid",
      width: across,
      height: down,
      id: options.id,
      viewBox: `0 0 ${across} ${down}`,
      "aria-label": options.label,
      role: options.onpick ? "application" : "img",
      tabindex: options.onmove ? 0 : null,
    },
    nodes,
  );
  listen(picture, options);
  return picture;
}

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** Pick on click, peek on hover, move and pick by keys. */
export function listen(picture, { onpick, onpeek, onmove, onenter }) {
  const keyOf = (event) => event.target.closest("[data-key]")?.dataset.key ?? null;
  if (onpick) picture.addEventListener("click", (event) => keyOf(event) && onpick(keyOf(event)));
  if (onpeek) {
    picture.addEventListener("pointerover", (event) => onpeek(keyOf(event)));
    picture.addEventListener("pointerleave", () => onpeek(null));
  }
  if (onmove)
    picture.addEventListener("keydown", (event) => {
      if (event.key in ARROWS) {
        event.preventDefault();
        event.stopPropagation();
        onmove(...ARROWS[event.key]);
      } else if (event.key === "Enter" && onenter) {
        event.preventDefault();
        onenter();
      }
    });
}

export const xKey = (c, i, j) => `x/${c}/${i}/${j}`;
export const wKey = (a, b, r, s) => `w/${a}/${b}/${r}/${s}`;
export const yKey = (k, i, j) => `y/${k}/${i}/${j}`;
export const bKey = (k) => `b/${k}`;
export const tKey = (t) => `t/${t}`;
export const partsOf = (key) => key.split("/").slice(1).map(Number);
