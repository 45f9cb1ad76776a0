// The panels in the order of the page. `key` is what a panel depends on: it is drawn again only
// when that changes. `drawing`: has pictures that can be saved. `always`: shown with bad settings.
import { arithmetic } from "./panels/arithmetic.js";
import { filters } from "./panels/filters.js";
import { formula } from "./panels/formula.js";
import { code } from "./panels/code.js";
import { groups } from "./panels/groups.js";
import { input } from "./panels/input.js";
import { matmul } from "./panels/matmul.js";
import { net } from "./panels/net.js";
import { output } from "./panels/output.js";
import { quiz } from "./panels/quiz.js";
import { threads } from "./panels/threads.js";
import { currentTerm } from "./view.js";

const layer = ({ problem, state }) => [problem, state.edits, state.flip, state.preset, state.layer];
const cell = (context) => [...layer(context), context.at];
const shownChannel = (context) => Math.floor(currentTerm(context)?.ic ?? 0);
const keyed = (...parts) => JSON.stringify(parts);

export const PANELS = [
  {
    id: "input",
    letter: "B",
    beside: true,
    drawing: true,
    draw: input,
    key: (c) => keyed(cell(c), shownChannel(c), c.state.select),
  },
  {
    id: "filters",
    letter: "C",
    beside: true,
    drawing: true,
    draw: filters,
    key: (c) => keyed(cell(c), shownChannel(c), c.state.select),
  },
  {
    id: "output",
    letter: "D",
    beside: true,
    drawing: true,
    draw: output,
    key: (c) => keyed(cell(c)),
  },
  {
    id: "arithmetic",
    letter: "E",
    drawing: true,
    draw: arithmetic,
    key: (c, page) => keyed(cell(c), c.step, c.state.symbols, c.state.speed, page.playing),
  },
  {
    id: "formula",
    letter: "F",
    draw: formula,
    key: (c) => keyed(layer(c), c.state.term, c.state.wanted),
  },
  {
    id: "matmul",
    letter: "G",
    drawing: true,
    draw: matmul,
    key: (c, page) => keyed(cell(c), c.step, c.state.view, c.state.select, page.width),
  },
  {
    id: "groups",
    letter: "H",
    drawing: true,
    draw: groups,
    key: (c) => keyed(c.problem, c.at.n, c.at.k),
  },
  {
    id: "net",
    letter: "I",
    drawing: true,
    draw: net,
    key: (c) => keyed(c.problem, c.own, c.state.preset, c.layer, c.state.cell),
  },
  {
    id: "threads",
    letter: "T",
    drawing: true,
    draw: threads,
    key: (c) => keyed(c.problem, c.at, c.state.gpu),
  },
  { id: "code", letter: "J", draw: code, key: (c) => keyed(cell(c), c.step, c.state.code) },
  { id: "quiz", letter: "K", draw: quiz, always: true, key: (c, page) => keyed(page.quiz) },
];
