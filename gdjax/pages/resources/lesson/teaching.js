// Images that a step of the course opens with: a misread digit, an ambiguous one, and a digit that is
// moved by the step itself.

import { reading } from "./draw.js";
import { imageAt } from "./images.js";

// Test images by step, chosen for a network; a step without one opens with the first test image.
export function teachingImages(network, test) {
  const reads = Array.from(test.labels, (label, at) => ({ at, label, ...reading(network, imageAt(test, at)) }));
  const best = (some, value) => some.reduce((one, other) => (value(other) > value(one) ? other : one), some[0] ?? reads[0]).at;
  const misread = reads.filter(({ best: answer, label }) => answer !== label);
  const sureness = ({ sure, best: answer }) => sure[answer];
  const surest = best(misread, sureness);
  const isUndecided = ({ sure, second, best: answer, label }) => sure[second] > 0.3 && (answer === label || second === label);
  return {
    1: surest,
    3: best(reads.filter(isUndecided), ({ sure, best: answer, second }) => sure[second] / sure[answer]),
    4: best(misread.filter(({ at }) => at !== surest), sureness),
  };
}
