// J: the layer as code, to copy; in the loops the line that the step executes is lit.
import { loopCode, variables } from "../code/loops.js";
import { numpyCode } from "../code/numpy.js";
import { isSmall, torchCode } from "../code/torch.js";
import { add, button, choice, el, note } from "../dom.js";
import { t } from "../words.js";

/** The lines shown, and the one that is lit or -1. */
export function codeOf(context) {
  const { state, result } = context;
  const value = +result.value.toFixed(4);
  if (state.code === "loops") return loopCode(context);
  return { lines: (state.code === "numpy" ? numpyCode : torchCode)(context, value), now: -1 };
}

/** Draw panel J. */
export function code(root, page, context) {
  const { state, problem: p } = context;
  const { lines, now } = codeOf(context);
  const copy = button(
    t("code.copy"),
    async () => {
      await navigator.clipboard.writeText(`${lines.join("\n")}\n`);
      copy.textContent = t("copied");
    },
    { id: "copy-code" },
  );
  add(
    root,
    el(
      "div",
      { class: "row" },
      choice(
        t("code.which"),
        [
          ["torch", "torch"],
          ["numpy", "NumPy"],
          ["loops", t("view.loops")],
        ],
        state.code,
        (name) => page.change({ code: name }),
      ),
      copy,
    ),
    el(
      "pre",
      { class: "code", id: "code-lines", lang: "en", tabindex: 0 },
      lines.map((line, i) => el("code", { class: i === now ? "line lit" : "line" }, `${line}\n`)),
    ),
    state.code === "loops" &&
      el("p", { class: "equation small", id: "variables" }, variables(context)),
    state.code === "loops" && p.op === "transposed" && note(t("code.gather")),
    state.code !== "loops" && !isSmall(p) && note(t("code.random")),
  );
}
