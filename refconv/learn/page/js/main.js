// The page: which panels there are, when each is drawn again, and what ties them together.
import { forget, mark, yKey } from "./cells.js";
import { el } from "./dom.js";
import { edited } from "./engine/data.js";
import { valueOf } from "./engine/terms.js";
import { START } from "./given.js";
import { head } from "./head.js";
import { onKey } from "./keys.js";
import { read, written } from "./link.js";
import { exportable } from "./export.js";
import { linked, peeked } from "./linked.js";
import { controls } from "./panels/controls.js";
import { readersText } from "./panels/input.js";
import { derive, moved, startOf } from "./state.js";
import { speak, t } from "./words.js";
import { PANELS } from "./panels.js";

const page = {
  state: null,
  settings: {},
  context: null,
  playing: false,
  width: 0, // px inside a wide panel
  quiz: { now: 0, answers: {}, open: false },
};
const shown = new Map(); // panel → what it was drawn for
let values = { key: "", cells: new Map() },
  timer = 0,
  drawControls = null;

/** Change some of the state, and draw what that alters. */
page.change = (patch) => {
  const old = page.state;
  page.state = { ...old, ...patch };
  if (
    patch.at &&
    String(Object.values(patch.at)) !== String(Object.values(old.at)) &&
    !("step" in patch)
  )
    page.state.step = -1;
  draw();
};
page.configure = (patch) => {
  page.settings = { ...page.settings, ...patch };
  dress();
  shown.clear();
  draw();
};
page.open = (preset, layer) => page.change({ ...startOf(preset, layer), ...kept() });
page.pin = (at) => page.change({ at });
page.neighbour = (by) => page.context.at && page.pin(moved(page.context, by));
page.edit = (which, at, value) =>
  page.change({ edits: edited(page.state.edits, which, at, value) });
page.pick = (which, at) => page.change({ select: { which, at } });
page.step = (to) => {
  const last = (page.context.terms?.length ?? 0) - 1;
  if (to > last) stop();
  page.change({ step: Math.max(-1, Math.min(to, last)) });
};
page.ask = (now) => redo({ quiz: { ...page.quiz, now, open: false } });
page.reveal = () => redo({ quiz: { ...page.quiz, open: true } });
page.answer = (id, given) =>
  redo({ quiz: { ...page.quiz, answers: { ...page.quiz.answers, [id]: given } } });
page.toggle = () => (page.playing ? stop() : start());

/** Change what is not part of the state, and draw. */
function redo(patch) {
  Object.assign(page, patch);
  draw();
}

/** What stays when another layer is opened: how things are shown. */
function kept() {
  const { flip, symbols, view, gpu, code, speed } = page.state;
  return { flip, symbols, view, gpu, code, speed };
}

function start() {
  if (page.context.step >= page.context.terms.length - 1) page.change({ step: -1 });
  page.playing = true;
  const beat = () => {
    if (page.context.problem.error || page.context.step >= page.context.terms.length - 1)
      return stop();
    page.step(page.context.step + 1);
    timer = setTimeout(beat, 1000 / page.state.speed);
  };
  beat();
}

function stop() {
  clearTimeout(timer);
  page.playing = false;
  draw();
}

/** An output value, computed once for each set of numbers. */
page.value = (at) => {
  const { problem, data, state } = page.context;
  const key = JSON.stringify([problem, state.edits, state.flip, state.preset, state.layer]);
  if (values.key !== key) values = { key, cells: new Map() };
  const place = Object.values(at).join();
  if (!values.cells.has(place)) values.cells.set(place, valueOf(problem, data, at));
  return values.cells.get(place);
};

/** Hover: an output shows what it reads, an input cell what reads it. */
page.peek = (key) => {
  if (page.context.problem.error) return;
  mark("peek", key ? peeked(key, page.context) : []);
  const words = document.getElementById("readers");
  if (words) words.textContent = readersText(page.context, key);
};

/** Arrow keys inside a map of numbers: move the selection from cell to cell. */
page.moveSelection = (which, dr, dc, start) => {
  const { state, problem: p } = page.context;
  const from = state.select?.which === which ? state.select.at : null;
  const at = from ? [...from] : [...start];
  const limits = which === "x" ? p.size : p.kernel;
  const last = at.length - 2;
  if (from)
    [dr, dc].forEach((by, a) => {
      at[last + a] = Math.max(0, Math.min(at[last + a] + by, limits[a] - 1));
    });
  page.pick(which, at);
};
page.focusEditor = (which) => document.getElementById(`edit-${which}`)?.focus();

/** Draw one panel; what has the focus keeps it, and keeps what is being typed. */
function drawPanel(panel, context) {
  const body = document.querySelector(`#${panel.id} .body`);
  const active = document.activeElement;
  const held = body.contains(active)
    ? {
        id: active.id,
        value: active.value,
        range: active.type === "text" ? [active.selectionStart, active.selectionEnd] : null,
      }
    : null;
  forget(panel.id);
  body.replaceChildren();
  panel.draw(body, page, context);
  const again = held?.id ? document.getElementById(held.id) : null;
  if (!again) return;
  again.focus({ preventScroll: true });
  if (held.range) {
    again.value = held.value;
    again.setSelectionRange(...held.range);
  }
}

function draw() {
  const context = (page.context = derive(page.state));
  const broken = Boolean(context.problem.error);
  document.body.classList.toggle("broken", broken);
  document.body.dataset.term = page.state.term;
  drawControls(context);
  head(document.querySelector("header"), page);
  for (const panel of PANELS) {
    if (broken && !panel.always) continue;
    const key = `${page.settings.lang}${panel.key(context, page)}`;
    if (shown.get(panel.id) === key) continue;
    shown.set(panel.id, key);
    drawPanel(panel, context);
  }
  if (!broken) {
    const { window, now, winner, bias } = linked(context);
    const { k, i, j } = context.at;
    mark("win", window);
    mark("now", now);
    mark("winner", winner);
    mark("used", bias);
    mark("pin", [yKey(k, i, j)]);
    const chosen = page.state.select;
    mark("chosen", chosen ? [`${chosen.which}/${chosen.at.join("/")}`] : []);
  }
  history.replaceState(null, "", `#${written(page.state, page.settings)}`);
}

/** Titles and the frame of every panel; drawn once for a language. */
function dress() {
  speak(page.settings.lang ?? (navigator.language.startsWith("zh") ? "zh" : "en"));
  if (page.settings.theme) document.documentElement.dataset.theme = page.settings.theme;
  else delete document.documentElement.dataset.theme;
  document.title = t("title");
  document.querySelector("footer").textContent = t("footer");
  for (const { id, letter, drawing } of [{ id: "controls", letter: "A" }, ...PANELS]) {
    const title = document.querySelector(`#${id} > .title`);
    title.replaceChildren(
      el("span", { class: "letter", "aria-hidden": "true" }, letter),
      el("h2", {}, t(`panel.${id}`)),
      ...(drawing ? [exportable(id)] : []),
    );
    const lead = document.querySelector(`#${id} > .lead`);
    if (lead) lead.textContent = t(`lead.${id}`);
  }
}

/** Show what the address says; as a page that was just opened, if `anew`. */
export function load(anew = false) {
  if (anew) page.quiz = { now: 0, answers: {}, open: false };
  clearTimeout(timer);
  page.playing = false;
  const { state, settings } = read(location.hash.length > 1 ? location.hash : START);
  page.state = state;
  page.settings = { ...settings };
  dress();
  shown.clear();
  draw();
}

/** Build the frame, show what the address says, listen. */
export function main() {
  const frame = (id, letter) =>
    el(
      "section",
      { id, class: "panel", "aria-label": letter },
      el("div", { class: "title" }),
      el("p", { class: "lead" }),
      el("div", { class: "body" }),
    );
  document.getElementById("controls").replaceWith(frame("controls", "A"));
  const place = document.getElementById("panels");
  const trio = el("div", { class: "trio" });
  place.append(trio);
  for (const { id, letter, beside } of PANELS) (beside ? trio : place).append(frame(id, letter));
  drawControls = controls(document.querySelector("#controls .body"), page);
  document.addEventListener("keydown", (event) => onKey(event, page));
  addEventListener("hashchange", () => load());
  const room = () => document.querySelector("#matmul .body").clientWidth;
  addEventListener("resize", () => page.width !== room() && redo({ width: room() }));
  page.width = room(); // measured here alone: asking while drawing would lay everything out
  load();
}
