// The panels in the order of the page. `key` is what a panel depends on: it is drawn again only
// when that changes. `drawing`: has pictures that can be saved. `always`: shown with bad settings.
import { arithmetic } from "./panels/arithmetic.js";
import { filters } from "./panels/filters.js";
import { formula } from "./panels/formula.js";
import { input } from "./panels/input.js";
import { output } from "./panels/output.js";
import { currentTerm } from "./view.js";

const layer = ({ problem, state }) => [problem, state.edits, state.flip, state.preset, state.layer];
const cell = (context) => [...layer(context), context.at];
const shownChannel = (context) => Math.floor(((currentTerm(context)?.ic) ?? 0));
const keyed = (...parts) => JSON.stringify(parts);

export const PANELS = [
  { id: "input", letter: "B", beside: true, drawing: true, draw: input,
    key: (c) => keyed(cell(c), shownChannel(c), c.state.select) },
  { id: "filters", letter: "C", beside: true, drawing: true, draw: filters,
    key: (c) => keyed(cell(c), shownChannel(c), c.state.select) },
  { id: "output", letter: "D", beside: true, drawing: true, draw: output, key: (c) => keyed(cell(c)) },
  { id: "arithmetic", letter: "E", drawing: true, draw: arithmetic,
    key: (c, page) => keyed(cell(c), c.step, c.state.symbols, c.state.speed, page.playing) },
  { id: "formula", letter: "F", draw: formula,
    key: (c) => keyed(layer(c), c.state.term, c.state.wanted) },
];
