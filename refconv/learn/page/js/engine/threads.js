// Which thread of which block computes an output: kernels/cuda/conv_1_direct.cu and
// conv_2_shared.cu, launched as refconv's plan functions launch them.
import { effectiveKernel } from "./window.js";

export const CHANNELS_A_BLOCK = 8;

/** conv_1: one thread an output; a plane (n, oc) has whole blocks of whole warps. */
export function directPlan(p) {
  const positions = p.out[0] * p.out[1];
  const threads = Math.min(256, Math.ceil(positions / 32) * 32);
  const each = Math.ceil(positions / threads);
  return { threads, each, blocks: each * p.n * p.k, idle: each * threads - positions };
}

export function directThread(p, { n, k, i, j }) {
  const { threads, each } = directPlan(p);
  const at = i * p.out[1] + j;
  return { block: (n * p.k + k) * each + Math.floor(at / threads), thread: at % threads };
}

/** conv_2: a block has a tile of positions and eight output channels of one group. */
export function sharedPlan(p) {
  const [height, width] = p.out[0] === 1 ? [1, 128] : [8, 32];
  const tiles = [Math.ceil(p.out[0] / height), Math.ceil(p.out[1] / width)];
  const parts = Math.ceil(p.k / p.groups / CHANNELS_A_BLOCK);
  const rows = (height - 1) * p.stride[0] + effectiveKernel(p.kernel[0], p.dilation[0]);
  const columns = (width - 1) * p.stride[1] + effectiveKernel(p.kernel[1], p.dilation[1]);
  const bytes = (rows * columns + p.kernel[0] * p.kernel[1] * CHANNELS_A_BLOCK) * 4;
  return {
    height,
    width,
    tiles,
    parts,
    rows,
    columns,
    bytes,
    blocks: tiles[0] * tiles[1] * parts * p.groups * p.n,
  };
}

export function sharedThread(p, { n, k, i, j }) {
  const { height, width, tiles, parts } = sharedPlan(p);
  const each = p.k / p.groups;
  const group = Math.floor(k / each);
  const part = Math.floor((k % each) / CHANNELS_A_BLOCK);
  const place =
    (((n * p.groups + group) * parts + part) * tiles[0] + Math.floor(i / height)) * tiles[1];
  return {
    block: place + Math.floor(j / width),
    x: j % width,
    y: i % height,
    thread: (i % height) * width + (j % width),
  };
}
