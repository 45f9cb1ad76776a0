// K: the questions that people ask, to be answered before the answer is shown. Where a layer of
// the page has the answer, the engine is asked for it, and the layer can be opened.
import { add, button, el, note } from "../dom.js";
import { effectiveKernel } from "../engine/window.js";
import { paddingsFor } from "../engine/solve.js";
import { ASKED, QUESTIONS } from "../given.js";
import { read } from "../link.js";
import { derive } from "../state.js";
import { t } from "../words.js";

/** What the engine answers to question `id`, or undefined where no layer shows it. */
export function engineAnswer(id) {
  const asked = ASKED[id];
  if (!asked) return undefined;
  const context = derive(read(asked.link).state);
  const { problem: p } = context;
  context.extent = effectiveKernel(p.kernel[0], p.dilation[0]);
  context.paddings = paddingsFor(
    p.op,
    p.size[0],
    p.out[0],
    p.kernel[0],
    p.stride[0],
    p.dilation[0],
  ).paddings;
  return asked.path.split(".").reduce((part, step) => part[step], context);
}

/** `code` in backquotes becomes an element. */
function prose(text) {
  return text.split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part));
}

/** The number that is meant: 18,432 and −30 are numbers too. */
function numberOf(given) {
  return Number(given.replace("−", "-").replace(/[,，\s]/g, ""));
}

function verdictOf(question, given, lang) {
  const number = question.kind === "number";
  const answer = number ? numberOf(given) : given;
  const right = answer === question.answer;
  const slip = question.wrong.find((w) => answer === (number ? w.value : w.choice));
  return { right, why: right ? "" : (slip?.[lang].why ?? "") };
}

function revealed(page, question, lang) {
  const { right, given, why } = page.quiz.answers[question.id] ?? {};
  const asked = ASKED[question.id];
  const { command } = question;
  const python = command.startsWith("rc.");
  const engine = engineAnswer(question.id);
  const proof = engine !== undefined && note(t("quiz.engine", { value: engine }));
  return el(
    "div",
    { class: "answer", "aria-live": "polite", id: "quiz-answer" },
    given !== undefined &&
      el(
        "p",
        { class: right ? "verdict right" : "verdict wrong" },
        right ? `✔ ${t("quiz.right")}` : `✘ ${t("quiz.wrong")}`,
        why ? [" ", prose(why)] : "",
      ),
    el("p", {}, prose(question[lang].a)),
    proof || "",
    python
      ? note(t("quiz.python"), " ", el("code", { lang: "en" }, `import refconv as rc; ${command}`))
      : note(t("quiz.command"), " ", el("code", { lang: "en" }, command)),
    asked
      ? button(
          t("quiz.open"),
          () => {
            page.change(read(asked.link).state);
            document.getElementById("controls").scrollIntoView({ block: "start" });
          },
          { id: "quiz-open" },
        )
      : "",
  );
}

function entry(page, question, lang) {
  const say = (given) => page.answer(question.id, { given, ...verdictOf(question, given, lang) });
  if (question.kind === "choice")
    return el(
      "div",
      { class: "choices" },
      question.choices.map((option, i) =>
        button(option[lang], () => say(i), {
          id: `quiz-choice-${i}`,
          "aria-pressed": String(page.quiz.answers[question.id]?.given === i),
        }),
      ),
    );
  const box = el("input", {
    type: "text",
    inputmode: "numeric",
    id: "quiz-number",
    autocomplete: "off",
    "aria-label": t("quiz.number"),
    value: page.quiz.answers[question.id]?.given ?? "",
  });
  return el(
    "form",
    {
      class: "row",
      onsubmit: (event) => {
        event.preventDefault();
        if (box.value.trim()) say(box.value.trim());
      },
    },
    box,
    el("button", { type: "submit", id: "quiz-check" }, t("quiz.check")),
  );
}

/** Draw panel K. */
export function quiz(root, page) {
  const lang = document.documentElement.lang === "en" ? "en" : "zh";
  const { now, answers, open } = page.quiz;
  const question = QUESTIONS[now];
  const right = Object.values(answers).filter((given) => given.right).length;
  const go = (to) => page.ask((to + QUESTIONS.length) % QUESTIONS.length);
  const shown = open || answers[question.id];
  add(
    root,
    el(
      "ol",
      { class: "questions", "aria-label": t("quiz.all") },
      QUESTIONS.map((q, i) =>
        el(
          "li",
          {},
          el(
            "button",
            {
              type: "button",
              "aria-label": t("quiz.number_of", { n: q.id }),
              "aria-current": i === now ? "true" : null,
              id: `question-${q.id}`,
              onclick: () => go(i),
              class: !answers[q.id] ? "" : answers[q.id].right ? "right" : "wrong",
            },
            answers[q.id] ? (answers[q.id].right ? "✔" : "✘") : String(q.id),
          ),
        ),
      ),
    ),
    el(
      "p",
      { class: "question" },
      el("span", { class: "letter" }, `${question.id} · ${question.source}`),
      " ",
      prose(question[lang].q),
    ),
    entry(page, question, lang),
    el(
      "div",
      { class: "row" },
      button(t("quiz.previous"), () => go(now - 1), { id: "quiz-previous" }),
      button(t("quiz.next"), () => go(now + 1), { id: "quiz-next" }),
      !shown && button(t("quiz.reveal"), () => page.reveal(), { id: "quiz-reveal" }),
      el(
        "span",
        { class: "note" },
        t("quiz.score", { right, answered: Object.keys(answers).length, all: QUESTIONS.length }),
      ),
    ),
    shown && revealed(page, question, lang),
  );
}
