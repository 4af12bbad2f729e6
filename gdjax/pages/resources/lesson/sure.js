// How sure is the network about noise? The mean of its largest output over images that are not
// digits.

import { byId } from "../base.js";
import { percent } from "../numbers.js";
import { noisePixels, reading } from "./draw.js";
import { classOf, showQuestion } from "./question.js";
import { text } from "./text.js";

const NOISE_IMAGES = 50;
const SURE_LIMITS = [0.25, 0.5, 0.75];

export function sureCard(page) {
  const largestOf = (pixels) => {
    const { best, sure } = reading(page.network(), pixels);
    return sure[best];
  };
  showQuestion(byId("sure-question"), {
    ask: text("sure.ask", { count: NOISE_IMAGES }),
    choices: [0, 1, 2, 3].map((i) => text(`sure.choice.${i}`)),
    async answer() {
      const outputs = Array.from({ length: NOISE_IMAGES }, (_, i) => largestOf(noisePixels(i + 1, page.sets.test.size)));
      const mean = outputs.reduce((sum, a) => sum + a, 0) / NOISE_IMAGES;
      const clear = outputs.filter((a) => a >= 0.5).length;
      return { right: classOf(mean, SURE_LIMITS), words: text("sure.answer", { mean: percent(mean), count: clear, all: NOISE_IMAGES }) };
    },
  });
  return { update() {} };
}
