// Backpropagation, one image at a time. A wish is a slope of the cost with the opposite sign: how much
// the cost falls for each unit by which a number grows.
//
//   output i:      -dC/da_i
//   its bias:      -dC/da_i s'(z_i)
//   its weight j:  -dC/da_i s'(z_i) a_j
//   the activation j before it, summed over all outputs:  -Σ_i dC/da_i s'(z_i) w_ij

import { COSTS } from "./network.js";

// For each layer, the slopes of the cost along its activations and along its sums.
export function slopesOf({ model }, { layers, activities }, target) {
  const slopes = new Array(layers.length);
  let outer = COSTS[model.cost].slope(activities.at(-1), target);
  for (let l = layers.length - 1; l >= 0; l -= 1) {
    const { from, to, weights, activation } = layers[l];
    const steep = Array.from(activities[l], activation.slope);
    const sums = steep.map((s, i) => s * outer[i]);
    slopes[l] = { outer: Array.from(outer), steep, sums };
    outer = new Float64Array(from);
    for (let i = 0; l && i < to; i += 1) {
      for (let j = 0; j < from; j += 1) outer[j] += sums[i] * weights[i * from + j];
    }
  }
  return slopes;
}

// The factors of the slope along a weight: {cost, activation, incoming, slope}.
export function factorsOf(slopes, { activities, pixels }, { layer, to, from }) {
  const { outer, steep } = slopes[layer];
  const incoming = layer ? activities[layer - 1][from] : pixels[from] / 255;
  return { cost: outer[to], activation: steep[to], incoming, slope: outer[to] * steep[to] * incoming };
}

// The slope by a central difference of the cost.
export function differenceOf(costAt, h = 1e-4) {
  return (costAt(h) - costAt(-h)) / (2 * h);
}

// The paths into a layer, strongest first: what they carry of the wishes of the layer for the
// activations before it, or of those for their weights.
export function pathsInto(layer, slopes, reads, kind, only = null) {
  const { from, to, weights } = reads.layers[layer];
  const paths = [];
  for (let i = 0; i < to; i += 1) {
    if (only !== null && i !== only) continue;
    for (let j = 0; j < from; j += 1) {
      const factor = kind === "weights" ? reads.activities[layer - 1][j] : weights[i * from + j];
      paths.push({ layer, to: i, from: j, wish: -slopes[layer].sums[i] * factor });
    }
  }
  return paths.sort((a, b) => Math.abs(b.wish) - Math.abs(a.wish));
}
