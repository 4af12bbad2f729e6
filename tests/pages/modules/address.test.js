import assert from "node:assert/strict";
import test from "node:test";

import { DEFAULTS, readAddress, writeAddress } from "../../../gdjax/pages/resources/lesson/address.js";

test("reading a written address restores its state", () => {
  const state = {
    ...DEFAULTS, lesson: 3, lang: "zh", answers: "a--c-e---------", label: 4, teacher: 1, rate: 0.0316, batch: 0, seed: 4294967295, scale: 0.1, activation: "relu",
    cost: "cross_entropy", step: 0, noise: 7, drawing: [[[0, 0], [279, 140]], [[5, 64]]],
  };
  assert.deepEqual(readAddress(writeAddress(state)), { state, ignored: [] });
  assert.equal(writeAddress(DEFAULTS), "#");
  assert.deepEqual(readAddress(""), { state: DEFAULTS, ignored: [] });
});

const HOSTILE = [
  "rate=-1", "rate=1e9", "rate=NaN", "rate=", "rate", "seed=1.5", "seed=99999999999", "step=20001", "batch=7", "batch=1e1",
  "activation=constructor", "cost=%3Cscript%3E", "lesson=12", "label=10", "lang=fr", "answers=a", "teacher=2", "digit=-1", "drawing=____", "drawing=AAAA..AAAA",
  "drawing=AAA", "drawing=AAAA<img>", "__proto__=1", "constructor=1", "hasOwnProperty=x", `drawing=${"AAAA".repeat(4000)}`,
];
for (const hash of HOSTILE) {
  test(`${hash.slice(0, 30)} is ignored`, () => {
    const { state, ignored } = readAddress(`#${hash}&seed=5`);
    assert.equal(ignored.length, 1);
    assert.ok(ignored[0].length <= 20);
    if (hash.length < 1000) assert.deepEqual(state, { ...DEFAULTS, seed: 5 });
  });
}
