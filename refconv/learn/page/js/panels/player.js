// The buttons that step through the products of an output, play them, and go on to the next.
import { button, el, icon } from "../dom.js";
import { t } from "../words.js";

/** Buttons, a slider and a speed. */
export function player(page, context) {
  const last = context.terms.length - 1;
  const { step, state } = context;
  const go = (to) => page.step(to);
  const scrub = el("input", {
    type: "range",
    min: -1,
    max: last,
    value: step,
    id: "scrub",
    "aria-label": t("play.scrub"),
    oninput: () => go(Number(scrub.value)),
  });
  const speed = el(
    "select",
    {
      id: "speed",
      "aria-label": t("play.speed"),
      onchange: () => page.change({ speed: Number(speed.value) }),
    },
    [1, 2, 5, 20].map((n) =>
      el("option", { value: n, selected: n === state.speed }, t("play.each", { n })),
    ),
  );
  const sign = (name, act, more) =>
    button(icon(name), act, {
      "aria-label": t(`play.${name}`),
      title: t(`play.${name}`),
      id: `play-${name === "pause" ? "play" : name}`,
      ...more,
    });
  return el(
    "div",
    { class: "player" },
    sign("first", () => go(-1)),
    sign("back", () => go(step - 1)),
    sign(page.playing ? "pause" : "play", page.toggle, { class: "main" }),
    sign("next", () => go(step + 1)),
    sign("last", () => go(last)),
    scrub,
    speed,
    button(t("play.previous"), () => page.neighbour(-1), { id: "cell-previous" }),
    button(t("play.following"), () => page.neighbour(1), { id: "cell-next" }),
  );
}
