// Keys that work anywhere on the page, except while a number is typed.

/** Arrows step through the products, space plays, comma and full stop go from output to output. */
export function onKey(event, page) {
  const { target, key } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || page.context.problem.error) return;
  if (target.closest("input, select, textarea, [role=radiogroup]")) return;
  if (key === " " && target.closest("button, a, summary")) return;
  const acts = {
    ArrowRight: () => page.step(page.context.step + 1),
    ArrowLeft: () => page.step(page.context.step - 1),
    Home: () => page.step(-1),
    End: () => page.step(page.context.terms.length - 1),
    " ": page.toggle,
    ".": () => page.neighbour(1),
    ",": () => page.neighbour(-1),
  };
  if (!(key in acts)) return;
  event.preventDefault();
  acts[key]();
}
