import assert from "node:assert/strict";
import test from "node:test";

import { keysOf, normals, permutation, randomBits, threefry } from "../../../gdjax/pages/resources/lesson/threefry.js";

// Known answers of Random123 (Salmon et al. 2011), threefry2x32 with 20 rounds.
test("threefry gives the published numbers", () => {
  assert.deepEqual(threefry([0, 0], 0, 0), [0x6b200159, 0x99ba4efe]);
  assert.deepEqual(threefry([0xffffffff, 0xffffffff], 0xffffffff, 0xffffffff), [0x1cb996fc, 0xbb002be7]);
  assert.deepEqual(threefry([0x13198a2e, 0x03707344], 0x243f6a88, 0x85a308d3), [0xc4923a9c, 0x483df7a0]);
});

test("normal numbers have mean 0, variance 1 and the fourth moment 3", () => {
  const x = normals([1, 2], 40000);
  const moment = (power) => x.reduce((sum, v) => sum + v ** power, 0) / x.length;
  assert.ok(Math.abs(moment(1)) < 0.02);
  assert.ok(Math.abs(moment(2) - 1) < 0.03);
  assert.ok(Math.abs(moment(4) - 3) < 0.2);
});

test("a permutation contains each number once, in the order of its random bits", () => {
  const order = permutation([3, 4], 500);
  const bits = randomBits([3, 4], 500);
  assert.deepEqual([...order].sort((a, b) => a - b), [...Array(500).keys()]);
  assert.ok([...order].every((at, i) => i === 0 || bits[order[i - 1]] <= bits[at]));
});

test("the seed determines the initial weights but not the order of batches", () => {
  assert.notDeepEqual(keysOf(1).init, keysOf(2).init);
  assert.deepEqual(keysOf(1).order, keysOf(2).order);
});
