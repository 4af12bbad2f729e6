// Images that a step of the course opens with if the learner has none: a misread digit, whose answer has
// a high cost, and an ambiguous one.

import { reading } from "./draw.js";
import { imageAt } from "./images.js";

// Test images by step, chosen for a network; a step without one opens with the first test image.
export function teachingImages(network, test) {
  const reads = Array.from(test.labels, (label, at) => ({ at, label, ...reading(network, imageAt(test, at)) }));
  const best = (some, value) => some.reduce((one, other) => (value(other) > value(one) ? other : one), some[0] ?? reads[0]).at;
  const isUndecided = ({ sure, second, best: answer, label }) => sure[second] > 0.3 && (answer === label || second === label);
  return {
    2: best(reads.filter(({ best: answer, label }) => answer !== label), ({ sure, best: answer }) => sure[answer]),
    3: best(reads.filter(isUndecided), ({ sure, best: answer, second }) => sure[second] / sure[answer]),
  };
}
