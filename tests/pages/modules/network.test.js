import assert from "node:assert/strict";
import test from "node:test";

import {
  COSTS, PARTS, addGradient, answerOf, forward, layersOf, litPixels, parameterAt, parameterCount,
} from "../../../gdjax/pages/resources/lesson/network.js";
import {
  baselineOf, batchOrder, costsAlong, gradientOf, lineCost, measure, nextRecord, norm, startingPoint, stepped,
} from "../../../gdjax/pages/resources/lesson/descent.js";

const WIDTHS = [9, 4, 3, 2];
const IMAGES = Uint8Array.from({ length: 18 }, (_, i) => (i % 4 ? (37 * i) % 256 : 0));
const SET = { lit: litPixels(IMAGES, 9), labels: Uint8Array.from([1, 0]) };
// No bias is zero: a ReLU has no derivative there.
const START = startingPoint({ seed: 1, scale: 2 }, WIDTHS).map((w, i) => w + 0.3 * Math.abs(Math.sin(i + 1)));

// Finite differences of the mean cost, in the same order.
function differences(model, params) {
  const cost = (at, h) => {
    const moved = params.slice();
    moved[at] += h;
    return measure(model, moved, SET, [0, 1]).cost;
  };
  return params.map((_, at) => (cost(at, 1e-6) - cost(at, -1e-6)) / 2e-6);
}

for (const activation of ["sigmoid", "tanh", "relu"]) {
  for (const cost of Object.keys(COSTS)) {
    test(`backpropagation is the gradient of ${cost} with ${activation}`, () => {
      const model = { widths: WIDTHS, activation, cost };
      const gradient = gradientOf(model, START, SET, [0, 1]);
      const expected = differences(model, START);
      assert.ok(norm(expected) > 0.01);
      gradient.forEach((g, i) => assert.ok(Math.abs(g - expected[i]) < 1e-8, `${i}: ${g}, ${expected[i]}`));
    });
  }
}

test("the gradient of a first-layer neuron is a multiple of the image", () => {
  const model = { widths: WIDTHS, activation: "sigmoid", cost: "quadratic" };
  const layers = layersOf(model, START);
  const gradient = new Float64Array(START.length);
  addGradient(gradient, model, layers, SET.lit, 1, forward(layers, SET.lit, 1), 0);
  const picture = IMAGES.subarray(9, 18);
  for (let i = 0; i < 4; i += 1) {
    const factor = gradient[4 * 9 + i]; // the slope of the bias
    picture.forEach((pixel, j) => assert.ok(Math.abs(gradient[9 * i + j] - (factor * pixel) / 255) < 1e-15));
  }
});

test("a small step against the gradient lowers the cost by rate × |g|²", () => {
  const model = { widths: WIDTHS, activation: "tanh", cost: "quadratic" };
  const gradient = gradientOf(model, START, SET, [0, 1]);
  const cost = (params) => measure(model, params, SET, [0, 1]).cost;
  const fall = cost(START) - cost(stepped(START, gradient, 1e-6));
  assert.ok(Math.abs(fall / (1e-6 * norm(gradient) ** 2) - 1) < 1e-4);
});

test("starting weights have the variance given by the scale, and biases are zero", () => {
  const wide = startingPoint({ seed: 3, scale: 3 }, [400, 100, 10]);
  const weights = wide.subarray(0, 40000);
  const variance = weights.reduce((sum, w) => sum + w * w, 0) / weights.length;
  assert.ok(Math.abs(variance / (9 / 400) - 1) < 0.03);
  assert.ok(wide.subarray(40000, 40100).every((b) => b === 0));
});

test("each pass contains each image once, and a batch may contain images of two passes", () => {
  const order = batchOrder(2, 5);
  const seen = [0, 1, 2, 3, 4].flatMap((t) => [...order(t)]);
  assert.deepEqual(seen.slice(0, 5).sort(), [0, 1, 2, 3, 4]);
  assert.deepEqual(seen.slice(5).sort(), [0, 1, 2, 3, 4]);
  assert.deepEqual([...batchOrder(0, 3)(7)], [0, 1, 2]);
});

test("an answer is an output or a softmax probability, and equal outputs are no answer", () => {
  const quadratic = { cost: "quadratic" };
  assert.deepEqual(answerOf(quadratic, Float64Array.from([0.1, 0.4, 0.2])), {
    best: 1, second: 2, sure: Float64Array.from([0.1, 0.4, 0.2]), isClear: false, isTied: false, isBroken: false,
  });
  assert.equal(answerOf(quadratic, new Float64Array(10)).isTied, true);
  assert.equal(answerOf(quadratic, Float64Array.from([NaN, 1])).isBroken, true);
  const { sure, isClear } = answerOf({ cost: "cross_entropy" }, Float64Array.from([0, Math.log(3)]));
  assert.deepEqual(sure.map((p) => Math.round(1e9 * p) / 1e9), Float64Array.from([0.25, 0.75]));
  assert.equal(isClear, true);
});

test("the parts of a cost add up to it", () => {
  const outputs = Float64Array.from([0.5, 0.25, 0.1]);
  const sum = (parts) => parts.reduce((total, part) => total + part, 0);
  for (const cost of ["quadratic", "cross_entropy"]) {
    assert.ok(Math.abs(sum(PARTS[cost](outputs, 1)) - COSTS[cost].value(outputs, 1)) < 1e-12);
  }
  // -log(1 - 0.5) - log(0.25) - log(1 - 0.1)
  assert.ok(Math.abs(sum(PARTS.binary(outputs, 1)) + Math.log(0.5 * 0.25 * 0.9)) < 1e-12);
});

test("parameter indices are converted to names", () => {
  const layers = layersOf({ widths: WIDTHS, activation: "sigmoid", cost: "quadratic" }, START);
  assert.deepEqual(parameterAt(layers, 0), { layer: 0, to: 0, from: 0 });
  assert.deepEqual(parameterAt(layers, 36), { layer: 0, to: 0 });
  assert.deepEqual(parameterAt(layers, 41), { layer: 1, to: 0, from: 1 });
  assert.equal(parameterCount([784, 16, 16, 10]), 13002);
});

test("the baseline is the cost of the best constant output", () => {
  const labels = Uint8Array.from([0, 0, 1, 0]);
  assert.equal(baselineOf("quadratic", labels, 2), 1 - (0.75 ** 2 + 0.25 ** 2));
  assert.ok(Math.abs(baselineOf("cross_entropy", labels, 2) - (-0.75 * Math.log(0.75) - 0.25 * Math.log(0.25))) < 1e-12);
});

test("the cost along a line is computed until it exceeds its initial value", () => {
  const { t, cost } = costsAlong((at) => (at - 3) ** 2);
  assert.equal(t[0], 0);
  assert.equal(cost[0], 9);
  assert.ok(cost.at(-1) >= 9 && cost.at(-2) < cost.at(-1));
  const lowest = t[cost.indexOf(Math.min(...cost))];
  assert.ok(Math.abs(lowest - 3) <= t[1] / 2 + 1e-12);
});

test("the cost along a line equals the cost of its points", () => {
  const model = { widths: WIDTHS, activation: "tanh", cost: "cross_entropy" };
  const direction = START.map((w, i) => Math.cos(i));
  const costAt = lineCost(model, START, direction, SET, [0, 1]);
  for (const t of [0, 0.3, -2]) {
    const point = START.map((w, i) => w + t * direction[i]);
    assert.ok(Math.abs(costAt(t) - measure(model, point, SET, [0, 1]).cost) < 1e-12);
  }
});

test("intervals between records increase", () => {
  const steps = [0];
  while (steps.at(-1) < 2000) steps.push(nextRecord(steps.at(-1), 1.25));
  assert.deepEqual(steps.slice(0, 13), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 17]);
  assert.ok(steps.length < 40);
});
