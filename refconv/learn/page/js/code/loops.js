// The layer as plain loops (kernels/naive in two dimensions), and which line a step is on.
import { isPool } from "../engine/problem.js";

const CONV_LOOPS = `for n in range(N):
    for oc in range(K):
        g = oc // (K // groups)
        for oh in range(OH):
            for ow in range(OW):
                total = 0
                for ic in range(C // groups):
                    c = g * (C // groups) + ic
                    for kh in range(KH):
                        ih = oh * stride_h - padding_h + kh * dilation_h
                        for kw in range(KW):
                            iw = ow * stride_w - padding_w + kw * dilation_w
                            if 0 <= ih < H and 0 <= iw < W:
                                total += x[n, c, ih, iw] * w[oc, ic, kh, kw]
                y[n, oc, oh, ow] = total + b[oc]`;

const TRANSPOSED_LOOPS = `for n in range(N):
    for oc in range(K):
        y[n, oc] = b[oc]
    for c in range(C):
        g = c // (C // groups)
        for ih in range(H):
            for iw in range(W):
                for k in range(K // groups):
                    oc = g * (K // groups) + k
                    for kh in range(KH):
                        oh = ih * stride_h - padding_h + kh * dilation_h
                        for kw in range(KW):
                            ow = iw * stride_w - padding_w + kw * dilation_w
                            if 0 <= oh < OH and 0 <= ow < OW:
                                y[n, oc, oh, ow] += x[n, c, ih, iw] * w[c, k, kh, kw]`;

const MAX_LOOPS = `for n in range(N):
    for c in range(C):
        for oh in range(OH):
            for ow in range(OW):
                best = -inf
                for kh in range(KH):
                    ih = oh * stride_h - padding_h + kh * dilation_h
                    for kw in range(KW):
                        iw = ow * stride_w - padding_w + kw * dilation_w
                        if 0 <= ih < H and 0 <= iw < W:
                            best = max(best, x[n, c, ih, iw])
                y[n, c, oh, ow] = best`;

const AVG_LOOPS = `for n in range(N):
    for c in range(C):
        for oh in range(OH):
            for ow in range(OW):
                total = 0
                for kh in range(KH):
                    ih = oh * stride_h - padding_h + kh
                    for kw in range(KW):
                        iw = ow * stride_w - padding_w + kw
                        if 0 <= ih < H and 0 <= iw < W:
                            total += x[n, c, ih, iw]
                y[n, c, oh, ow] = total / cells(oh, ow)`;

const LOOPS = { conv: CONV_LOOPS, transposed: TRANSPOSED_LOOPS, max: MAX_LOOPS, avg: AVG_LOOPS };

/** The loops, and the number of the line that the current step executes. */
export function loopCode({ problem: p, step, terms }) {
  const bare = !isPool(p) && !p.bias;
  const lines = LOOPS[p.op]
    .split("\n")
    .map((line) => (bare ? line.replace(" + b[oc]", "").replace("= b[oc]", "= 0") : line));
  const inner = lines.findIndex((line) => /\+= x|max\(best/.test(line));
  const term = terms[step];
  const last = p.op === "transposed" ? -1 : lines.length - 1;
  return { lines, now: !term ? last : term.inside ? inner : inner - 1 };
}

/** What the loops' variables hold at the current step. */
export function variables({ problem: p, at, terms, step }) {
  const x = terms[step];
  const named = [
    ["n", at.n],
    [isPool(p) ? "c" : "oc", at.k],
    ["oh", at.i],
    ["ow", at.j],
  ];
  if (x)
    named.push(
      ...(isPool(p) ? [] : [["c", x.c]]),
      ["kh", x.r],
      ["kw", x.s],
      ["ih", x.i ?? "–"],
      ["iw", x.j ?? "–"],
    );
  return named.map(([name, value]) => `${name} = ${value}`).join("   ");
}
