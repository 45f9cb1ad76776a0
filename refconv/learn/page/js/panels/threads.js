// T: who computes what on a GPU, for the first two steps of the ladder in kernels/cuda.
import { grid, partsOf, yKey } from "../cells.js";
import { add, choice, el, grouped, note } from "../dom.js";
import {
  CHANNELS_A_BLOCK,
  directPlan,
  directThread,
  sharedPlan,
  sharedThread,
} from "../engine/threads.js";
import { outputView } from "../view.js";
import { t } from "../words.js";

/** Draw the map of threads. */
export function threads(root, page, context) {
  const { problem: p, at, state } = context;
  if (p.op !== "conv") {
    add(root, note(t("threads.conv_only")));
    return;
  }
  const direct = state.gpu === "direct";
  const who = direct ? directThread : sharedThread;
  const { rows, columns, whole } = outputView(p, at);
  add(
    root,
    choice(
      t("threads.kernel"),
      [
        ["direct", "conv_1_direct.cu"],
        ["shared", "conv_2_shared.cu"],
      ],
      state.gpu,
      (gpu) => page.change({ gpu }),
    ),
  );
  const mine = who(p, at);
  const picture = grid(
    "threads",
    rows,
    columns,
    (i, j) => {
      const { block, thread } = who(p, { ...at, i, j });
      const kind = `warp${Math.floor(thread / 32) % 4}${block === mine.block ? "" : " far"}`;
      return { key: yKey(at.k, i, j), kind, text: String(thread) };
    },
    {
      width: 28,
      height: 26,
      heads: true,
      id: "thread-map",
      label: t("threads.label"),
      onpeek: page.peek,
      onpick: (key) => {
        const [k, i, j] = partsOf(key);
        page.pin({ n: at.n, k, i, j });
      },
      onmove: (dr, dc) =>
        page.pin({
          ...at,
          i: Math.max(0, Math.min(at.i + dr, p.out[0] - 1)),
          j: Math.max(0, Math.min(at.j + dc, p.out[1] - 1)),
        }),
    },
  );
  const facts = el("div", { class: "facts" });
  add(
    root,
    el(
      "div",
      { class: "beside" },
      el("figure", {}, el("figcaption", {}, t("threads.map", { at: `${at.n}, ${at.k}` })), picture),
      facts,
    ),
  );
  const taps = p.perGroup * p.kernel[0] * p.kernel[1];
  const inside = context.terms.filter((x) => x.inside).length;
  if (direct) {
    const plan = directPlan(p);
    add(
      facts,
      el(
        "p",
        { class: "equation", id: "thread" },
        `blockIdx.x ${grouped(mine.block)} · threadIdx.x ${mine.thread}`,
      ),
      el(
        "p",
        {},
        t("threads.direct", { warp: Math.floor(mine.thread / 32), lane: mine.thread % 32 }),
      ),
      note(
        t("threads.direct_plan", {
          blocks: grouped(plan.blocks),
          threads: plan.threads,
          each: plan.each,
          idle: plan.idle,
        }),
      ),
      note(t("threads.direct_loads", { taps: grouped(taps), inside: grouped(inside) })),
    );
  } else {
    const plan = sharedPlan(p);
    add(
      facts,
      el(
        "p",
        { class: "equation", id: "thread" },
        `blockIdx.x ${grouped(mine.block)} · threadIdx (${mine.x}, ${mine.y})`,
      ),
      el("p", {}, t("threads.shared", { channels: CHANNELS_A_BLOCK })),
      note(
        t("threads.shared_plan", {
          blocks: grouped(plan.blocks),
          height: plan.height,
          width: plan.width,
          channels: CHANNELS_A_BLOCK,
        }),
      ),
      note(
        t("threads.shared_loads", {
          rows: plan.rows,
          columns: plan.columns,
          bytes: grouped(plan.bytes),
          channels: CHANNELS_A_BLOCK,
        }),
      ),
    );
  }
  add(
    facts,
    note(t("threads.legend")),
    !whole &&
      note(t("note.window", { shown: `${rows.length}×${columns.length}`, all: p.out.join("×") })),
    note(t("threads.unmeasured")),
  );
}
