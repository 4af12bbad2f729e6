import assert from "node:assert/strict";
import test from "node:test";

import { answersOf, networksOf, shifted } from "../../../gdjax/pages/resources/lesson/many.js";

test("networks are dequantized with one scale per neuron", () => {
  const bytes = new Uint8Array(Int8Array.from([1, -2, 127, 4, -127, 6]).buffer);
  const many = { count: 1, bytes, scales: [0.5, 2, 1], biases: [10, 20, 30] };
  assert.deepEqual([...networksOf(many, [2, 2, 1])[0]], [0.5, -1, 254, 8, 10, 20, -127, 6, 30]);
});

test("each network answers independently", () => {
  const model = { widths: [1, 2], activation: "sigmoid", cost: "quadratic" };
  const networks = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]].map((params) => Float64Array.from(params));
  assert.deepEqual(answersOf(networks, model, Uint8Array.from([255])), [0, 1, 1]);
});

test("an image is moved by whole pixels, and the gap is filled with dark pixels", () => {
  const image = Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.deepEqual([...shifted(image, [1, 0])], [0, 1, 2, 0, 4, 5, 0, 7, 8]);
  assert.deepEqual([...shifted(image, [0, -1])], [4, 5, 6, 7, 8, 9, 0, 0, 0]);
  assert.deepEqual([...shifted(image, [5, 0])], [0, 0, 0, 0, 0, 0, 0, 0, 0]);
});
