// Where the page begins; and what the tests may look at.
import { dataOf } from "./engine/data.js";
import { problemOf } from "./engine/problem.js";
import { fields, seen } from "./engine/receptive.js";
import { paddingsFor } from "./engine/solve.js";
import { readersOf, resultOf, termsOf, valueOf } from "./engine/terms.js";
import { asSvg } from "./export.js";
import { main } from "./main.js";
import { settingsOf } from "./presets.js";

window.refconv = { asSvg, dataOf, fields, paddingsFor, problemOf, readersOf, resultOf, seen,
  settingsOf, termsOf, valueOf };
main();
