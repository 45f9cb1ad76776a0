// Making elements: HTML with el, SVG with svg. No framework: a panel is a function that returns
// elements, and is called again when what it shows has changed.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(
    ...children
      .flat(Infinity)
      .filter((child) => child !== null && child !== undefined && child !== false),
  );
  return node;
}

/** An HTML element; attributes that start with "on" are listeners. */
export function el(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** A line of explanation. */
export function note(...children) {
  return el("p", { class: "note" }, ...children);
}

/** A line that says what one can do. */
export function hint(...children) {
  return el("p", { class: "hint" }, ...children);
}

/** A button with its label. */
export function button(label, onclick, attributes = {}) {
  return el("button", { type: "button", onclick, ...attributes }, label);
}

/** Several choices of which one is on: a row of buttons. */
export function choice(name, options, value, onpick) {
  return el(
    "div",
    { class: "choice", role: "radiogroup", "aria-label": name },
    options.map(([key, label]) =>
      button(label, () => onpick(key), {
        role: "radio",
        "aria-checked": String(key === value),
        id: `choice-${name}-${key}`,
        "data-key": key,
      }),
    ),
  );
}

const ICONS = {
  first: "M14 3L8 8l6 5zM8 3L3 8l5 5zM1.5 3v10",
  back: "M12 3L4 8l8 5zM3 3v10",
  play: "M4 2.5L13 8l-9 5.5z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  next: "M4 3l8 5-8 5zM13 3v10",
  last: "M2 3l6 5-6 5zM8 3l5 5-5 5zM14.5 3v10",
};

/** A small picture on a button. */
export function icon(name) {
  return svg(
    "svg",
    { class: "icon", width: 16, height: 16, viewBox: "0 0 16 16", "aria-hidden": "true" },
    svg("path", { d: ICONS[name] }),
  );
}

/** Append what is there; null and false are left out. */
export function add(root, ...children) {
  root.append(...children.flat(Infinity).filter(Boolean));
}

/** A number as people write it: a real minus sign, at most `digits` decimals. */
export function show(value, digits = 2) {
  if (value === -Infinity) return "−∞";
  const text = Number.isInteger(value) ? String(value) : String(+value.toFixed(digits));
  return text.replace("-", "−");
}

/** A whole number in groups of three. */
export function grouped(value) {
  return value.toLocaleString("en-US");
}
