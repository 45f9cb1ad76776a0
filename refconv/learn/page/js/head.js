// The head of the page: what it shows, presets, language, light or dark, the address to send.
import { button, choice, el } from "./dom.js";
import { PRESETS } from "./presets.js";
import { openable } from "./state.js";
import { t } from "./words.js";

const LIGHTS = ["auto", "light", "dark"];

let headed = "";

/** Draw the head, if anything in it has changed. */
export function head(root, page) {
  const { state, settings, context } = page;
  const key = JSON.stringify([state.preset, state.layer, settings, context.own]);
  if (key === headed) return;
  const held = root.contains(document.activeElement) ? document.activeElement.id : "";
  headed = key;
  const lang = document.documentElement.lang === "en" ? "en" : "zh";
  const share = button(
    t("share"),
    async () => {
      await navigator.clipboard.writeText(location.href);
      share.textContent = t("copied");
      setTimeout(() => {
        share.textContent = t("share");
      }, 1500);
    },
    { id: "share", title: t("share.title") },
  );
  root.replaceChildren(
    el("div", { class: "brand" }, el("h1", {}, t("heading")), el("p", {}, t("subtitle"))),
    el(
      "div",
      { class: "tools" },
      button(
        lang === "en" ? "中文" : "English",
        () => page.configure({ lang: lang === "en" ? "zh" : "en" }),
        { id: "language", lang: lang === "en" ? "zh-Hans" : "en" },
      ),
      button(
        t(`theme.${settings.theme ?? "auto"}`),
        () => {
          const next = LIGHTS[(LIGHTS.indexOf(settings.theme ?? "auto") + 1) % LIGHTS.length];
          page.configure({ theme: next === "auto" ? null : next });
        },
        { id: "theme", title: t("theme.title") },
      ),
      share,
    ),
    el(
      "nav",
      { class: "presets", "aria-label": t("presets") },
      choice(
        t("presets"),
        Object.keys(PRESETS).map((name) => [name, t(`preset.${name}`)]),
        context.own ? "" : state.preset,
        (name) => page.open(name, openable(name)[0]),
      ),
      el("p", { class: "about" }, context.own ? t("preset.own") : t(`about.${state.preset}`)),
    ),
  );
  if (held) document.getElementById(held)?.focus({ preventScroll: true });
}
