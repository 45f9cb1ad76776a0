// The numbers of a layer: a preset's own where it has them, else small integers made from their
// place, so that a layer of any size holds no arrays; and the user's edits on top.

/** A whole number 0 … 2^32-1 from a place: the same on every machine. */
function hashed(seed, a, b, c, d) {
  let h = seed;
  for (const v of [a, b, c, d]) {
    h = Math.imul(h ^ (v + 0x9e3779b9), 0x85ebca6b);
    h ^= h >>> 13;
    h = Math.imul(h, 0xc2b2ae35);
    h ^= h >>> 16;
  }
  return h >>> 0;
}

const place = (...at) => at.join(".");

/** Accessors x(n, c, i, j), w(a, b, r, s), b(k) of a preset's arrays under edits. */
export function dataOf(golden, edits, transposed = false) {
  const given = (array, at) => at.reduce((part, index) => part?.[index], array);
  // A convolution's filters are not a transposed convolution's: there the axes are exchanged.
  const w = transposed ? undefined : golden?.weight;
  return {
    x: (n, c, i, j) =>
      edits.x?.[place(n, c, i, j)] ??
      (n === 0 ? given(golden?.input, [c, i, j]) : undefined) ??
      hashed(11, n, c, i, j) % 3,
    w: (a, b, r, s) =>
      edits.w?.[place(a, b, r, s)] ?? given(w, [a, b, r, s]) ?? (hashed(23, a, b, r, s) % 3) - 1,
    b: (k) => edits.b?.[place(k)] ?? golden?.bias?.[k] ?? (hashed(37, k, 0, 0, 0) % 3) - 1,
  };
}

/** The same accessors with every filter turned by 180°, for true convolution. */
export function turned(data, kernel) {
  return { ...data, w: (a, b, r, s) => data.w(a, b, kernel[0] - 1 - r, kernel[1] - 1 - s) };
}

/** Edits with one number changed; `which` is x, w or b. */
export function edited(edits, which, at, value) {
  return { ...edits, [which]: { ...edits[which], [place(...at)]: value } };
}
