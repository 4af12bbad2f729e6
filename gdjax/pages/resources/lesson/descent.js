// Gradient descent of a network, as gdjax does it: w ← w − η g, with g of a mini-batch.
//
// Settings: {rate, batch, seed, scale, activation, cost}, where batch 0 is a full batch. Equal
// settings give equal numbers in every part of the page.

import { keysOf, foldIn, normals, permutation, splitKey } from "./threefry.js";
import { ACTIVATIONS, COSTS, addGradient, afterFirst, forward, largest, layersOf, parameterCount } from "./network.js";

export const DIVERGENCE_THRESHOLD = 1e12; // cost above which a descent counts as diverged

export const modelOf = (settings, widths) => ({ widths, activation: settings.activation, cost: settings.cost });

// Weights are drawn from N(0, scale² / number of inputs of the neuron); biases are 0.
export function startingPoint({ seed, scale }, widths) {
  const params = new Float64Array(parameterCount(widths));
  const keys = splitKey(keysOf(seed).init, widths.length - 1);
  let begin = 0;
  widths.slice(1).forEach((to, l) => {
    const from = widths[l];
    const deviation = Math.fround(Math.sqrt(1 / from));
    normals(keys[l], to * from).forEach((x, i) => {
      params[begin + i] = Math.fround(Math.fround(x * deviation) * scale);
    });
    begin += to * (from + 1);
  });
  return params;
}

// Indices of the images of step `t`. Each pass through the set has a different order.
export function batchOrder(batch, count) {
  if (!batch) {
    const all = Uint32Array.from({ length: count }, (_, i) => i);
    return () => all;
  }
  const passes = new Map();
  const orderOf = (pass) => {
    if (!passes.has(pass)) {
      if (passes.size > 2) passes.clear();
      passes.set(pass, permutation(foldIn(keysOf(0).order, pass), count));
    }
    return passes.get(pass);
  };
  return (t) =>
    Uint32Array.from({ length: batch }, (_, i) => orderOf(Math.floor((t * batch + i) / count))[(t * batch + i) % count]);
}

// Mean cost of images, accuracy and share of saturated hidden neurons; adds the images' gradients
// to `gradient` if one is passed.
export function measure(model, params, { lit, labels }, rows, gradient = null) {
  const layers = layersOf(model, params);
  const hidden = model.widths.slice(1, -1).reduce((sum, width) => sum + width, 0);
  let [cost, right, saturated] = [0, 0, 0];
  for (const row of rows) {
    const activities = forward(layers, lit, row);
    const outputs = activities.at(-1);
    cost += COSTS[model.cost].value(outputs, labels[row]);
    right += largest(outputs) === labels[row] ? 1 : 0;
    for (let l = 0; l + 1 < layers.length; l += 1) {
      for (const a of activities[l]) saturated += layers[l].activation.isSaturated(a) ? 1 : 0;
    }
    if (gradient) addGradient(gradient, model, layers, lit, row, activities, labels[row]);
  }
  const count = rows.length;
  return { cost: cost / count, accuracy: right / count, saturated: saturated / (hidden * count) };
}

export function gradientOf(model, params, set, rows) {
  const sum = new Float64Array(params.length);
  measure(model, params, set, rows, sum);
  return sum.map((g) => g / rows.length);
}

export const rowsOf = ({ labels }) => batchOrder(0, labels.length)(0);
export const stepped = (params, gradient, rate) => params.map((w, i) => w - rate * gradient[i]);
export const norm = (vector) => Math.sqrt(vector.reduce((sum, g) => sum + g * g, 0));

// Record of a network: accuracy on the test images, other values on the training images.
export function recordOf(model, params, step, { train, test }) {
  const gradient = new Float64Array(params.length);
  const rows = rowsOf(train);
  const { cost, saturated } = measure(model, params, train, rows, gradient);
  const { accuracy } = measure(model, params, test, rowsOf(test));
  return {
    step,
    cost: cost <= DIVERGENCE_THRESHOLD ? cost : Infinity,
    accuracy,
    saturated,
    gradientNorm: norm(gradient) / rows.length,
  };
}

const LONGEST_WAIT = 250; // steps

// Recorded steps grow by equal ratios, since progress slows down, up to the longest wait for a record.
export const nextRecord = (step, ratio) => (step < 10 ? step + 1 : Math.min(Math.ceil(ratio * step), step + LONGEST_WAIT));

// Mean cost at w + t v as a function of t. The sums of the first layer, which take almost all of the
// time, are linear in t and computed once.
export function lineCost(model, params, direction, { lit, labels }, rows) {
  const [own, along] = [params, direction].map((values) => {
    const layer = { ...layersOf(model, values)[0], activation: ACTIVATIONS.identity };
    return Array.from(rows, (row) => forward([layer], lit, row)[0]);
  });
  return (t) => {
    const [{ activation }, ...layers] = layersOf(model, params.map((w, i) => w + t * direction[i]));
    const costs = Array.from(rows, (row, k) => {
      const first = own[k].map((z, i) => activation.value(z + t * along[k][i]));
      return COSTS[model.cost].value(afterFirst(layers, first).at(-1), labels[row]);
    });
    return costs.reduce((sum, cost) => sum + cost, 0) / rows.length;
  };
}

// The directions of a plane from their codes, one after the other, and a scale each.
export const directionsOf = ({ codes, scales }) =>
  Array.from(scales, (scale, k) => Float64Array.from(codes.subarray((k * codes.length) / 2, ((k + 1) * codes.length) / 2), (code) => scale * code));

export const pointOnPlane = (origin, [first, second], [a, b]) => origin.map((w, i) => w + a * first[i] + b * second[i]);

const dot = (u, v) => u.reduce((sum, x, i) => sum + x * v[i], 0);

// The nearest point of a plane, by least squares: {a, b, off, nearest}, with the distance from it.
export function ontoPlane(params, { origin, along }) {
  const from = params.map((w, i) => w - origin[i]);
  const [first, second] = along;
  const [p, q] = [dot(from, first), dot(from, second)];
  const [ff, fs, ss] = [dot(first, first), dot(first, second), dot(second, second)];
  const [a, b] = [(p * ss - q * fs) / (ff * ss - fs * fs), (q * ff - p * fs) / (ff * ss - fs * fs)];
  const nearest = pointOnPlane(origin, along, [a, b]);
  return { a, b, off: norm(params.map((w, i) => w - nearest[i])), nearest };
}

const LINE_POINTS = 32;

// Cost along a line, from t = 0 until it exceeds its initial value again: {t, cost}.
export function costsAlong(costAt) {
  const start = costAt(0);
  let end = 0.01;
  while (end < 1000 && costAt(end) < start) end *= 2;
  const t = Array.from({ length: LINE_POINTS + 1 }, (_, i) => (i * end) / LINE_POINTS);
  return { t, cost: t.map((at, i) => (i ? costAt(at) : start)) };
}

// Cost of predicting the class frequencies p for all images: 1 - Σ p², or the entropy of p.
export function baselineOf(cost, labels, outputs) {
  const shares = Array.from({ length: outputs }, (_, digit) => labels.filter((label) => label === digit).length / labels.length);
  return cost === "quadratic"
    ? 1 - shares.reduce((sum, p) => sum + p * p, 0)
    : -shares.reduce((sum, p) => sum + (p ? p * Math.log(p) : 0), 0);
}
