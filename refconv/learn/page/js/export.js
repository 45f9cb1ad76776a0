// A panel's pictures as one SVG file that needs no style sheet.
import { button } from "./dom.js";
import { t } from "./words.js";

const STYLES = [
  "fill",
  "stroke",
  "stroke-width",
  "stroke-dasharray",
  "opacity",
  "font-size",
  "font-family",
  "font-weight",
  "text-anchor",
  "dominant-baseline",
];

/** The pictures of a panel, placed as on the page, with every style written into them. */
export function asSvg(panel) {
  const body = document.querySelector(`#${panel} .body`);
  const frame = body.getBoundingClientRect();
  const pictures = [...body.querySelectorAll("svg:not(.icon)")];
  const parts = pictures.map((picture) => {
    const box = picture.getBoundingClientRect();
    const copy = picture.cloneNode(true);
    const from = [picture, ...picture.querySelectorAll("*")];
    const to = [copy, ...copy.querySelectorAll("*")];
    from.forEach((node, i) => {
      const style = getComputedStyle(node);
      for (const name of STYLES) to[i].setAttribute(name, style.getPropertyValue(name));
      for (const name of ["class", "tabindex", "id", "data-key"]) to[i].removeAttribute(name);
    });
    copy.setAttribute("x", Math.round(box.left - frame.left));
    copy.setAttribute("y", Math.round(box.top - frame.top));
    return {
      text: new XMLSerializer().serializeToString(copy),
      right: box.right - frame.left,
      bottom: box.bottom - frame.top,
    };
  });
  const width = Math.ceil(Math.max(...parts.map((part) => part.right)));
  const height = Math.ceil(Math.max(...parts.map((part) => part.bottom)));
  const ground = getComputedStyle(body.closest(".panel")).backgroundColor;
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" ` +
    `viewBox="0 0 ${width} ${height}"><rect width="100%" height="100%" fill="${ground}"/>` +
    `${parts.map((part) => part.text).join("")}</svg>`
  );
}

/** A button that saves a panel's pictures. */
export function exportable(panel) {
  return button(
    "SVG",
    () => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([asSvg(panel)], { type: "image/svg+xml" }));
      link.download = `refconv-${panel}.svg`;
      link.click();
      URL.revokeObjectURL(link.href);
    },
    { class: "export", title: t("export"), "aria-label": t("export"), id: `export-${panel}` },
  );
}
