// The row under a map in which the selected number is changed.
import { el } from "../dom.js";
import { t } from "../words.js";

const inRange = (p, which, at) => {
  const [a, b, r, s] = at;
  if (which === "b") return a < p.k;
  if (which === "x") return a < p.c && b >= 0 && r >= 0 && b < p.size[0] && r < p.size[1];
  return (
    p.weightShape &&
    a < p.weightShape[0] &&
    b < p.weightShape[1] &&
    r < p.kernel[0] &&
    s < p.kernel[1]
  );
};

/** The selected number of array x, w or b, editable; a hint where there is none. */
export function editor(page, context, which) {
  const { state, problem, plain, at } = context;
  const chosen = state.select;
  const other = which === "w" ? ["w", "b"] : ["x"];
  const asked = which === "w" && !problem.bias ? "w.only" : which;
  if (!chosen || !other.includes(chosen.which) || !inRange(problem, chosen.which, chosen.at))
    return el("p", { class: "editor" }, t(`edit.hint.${asked}`));
  const place = chosen.which === "x" ? [at.n, ...chosen.at] : chosen.at;
  const value = plain[chosen.which](...place);
  const box = el("input", {
    type: "text",
    inputmode: "decimal",
    id: `edit-${which}`,
    value: String(value),
    autocomplete: "off",
    "aria-label": t("edit.label", { at: `${chosen.which}[${place.join(", ")}]` }),
    oninput: () => {
      const given = Number(box.value.replace("−", "-"));
      const fine = box.value.trim() !== "" && Number.isFinite(given);
      box.setAttribute("aria-invalid", String(!fine));
      if (fine) page.edit(chosen.which, place, given);
    },
  });
  return el(
    "p",
    { class: "editor" },
    el("label", { for: `edit-${which}` }, el("code", {}, `${chosen.which}[${place.join(", ")}] =`)),
    box,
  );
}
