// Receptive fields along a chain of convolutions and poolings, per axis: {size, jump, start}.
// Cell o of the last layer sees positions start + o*jump … start + o*jump + size - 1, uncut.
import { effectiveKernel } from "./window.js";

export const ONE = { size: 1, jump: 1, start: 0 };

/** The field behind one more layer, on axis a (0 = H, 1 = W). */
export function grown(field, layer, a) {
  if (layer.kernel === undefined) return field; // activations and the like: cell by cell
  const [k, s, p, d] = [layer.kernel, layer.stride, layer.padding, layer.dilation].map((v) => v[a]);
  return {
    size: field.size + (effectiveKernel(k, d) - 1) * field.jump,
    jump: field.jump * s,
    start: field.start - p * field.jump,
  };
}

/** The fields after each of `layers`. */
export function fields(layers, a) {
  const found = [];
  let field = ONE;
  for (const layer of layers) found.push((field = grown(field, layer, a)));
  return found;
}

/** First and last input position that cell o sees, uncut. */
export function seen(field, o) {
  const first = field.start + o * field.jump;
  return [first, first + field.size - 1];
}
