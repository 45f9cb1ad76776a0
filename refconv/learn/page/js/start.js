// Where the page begins; and what the tests may look at.
import { dataOf } from "./engine/data.js";
import { problemOf } from "./engine/problem.js";
import { fields, seen } from "./engine/receptive.js";
import { paddingsFor } from "./engine/solve.js";
import { readersOf, resultOf, termsOf, valueOf } from "./engine/terms.js";
import { asSvg } from "./export.js";
import { load, main } from "./main.js";
import { directThread, directPlan, sharedPlan, sharedThread } from "./engine/threads.js";
import { QUESTIONS } from "./given.js";
import { read } from "./link.js";
import { codeOf } from "./panels/code.js";
import { engineAnswer } from "./panels/quiz.js";
import { derive } from "./state.js";
import { settingsOf } from "./presets.js";

/** Go to a state, as if its link had been opened in a new tab. */
function open(link) {
  history.replaceState(null, "", `#${link}`);
  load(true);
}

window.refconv = {
  open,
  QUESTIONS,
  asSvg,
  codeOf,
  dataOf,
  derive,
  directPlan,
  directThread,
  engineAnswer,
  read,
  sharedPlan,
  sharedThread,
  fields,
  paddingsFor,
  problemOf,
  readersOf,
  resultOf,
  seen,
  settingsOf,
  termsOf,
  valueOf,
};
main();
