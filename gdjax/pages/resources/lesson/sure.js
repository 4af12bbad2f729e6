// How sure is the network about noise? The mean of its largest output over images that are not
// digits.

import { byId } from "../base.js";
import { noisePixels, reading } from "./draw.js";
import { classOf, rangesOf, showQuestion } from "./question.js";
import { limitWords, outputWords, text } from "./text.js";

const NOISE_IMAGES = 50;
const SURE_LIMITS = [0.25, 0.5, 0.75];

export function sureCard(page) {
  let asked = null; // parameters of the network of the question
  function ask() {
    const network = page.network();
    const words = (value) => outputWords(network.model, value);
    const limit = (value) => limitWords(network.model, value);
    showQuestion(byId("sure-question"), {
      ask: text("sure.ask", { count: NOISE_IMAGES }),
      choices: rangesOf(SURE_LIMITS, limit),
      isReady: page.isReady,
      async answer() {
        const outputs = Array.from({ length: NOISE_IMAGES }, (_, i) => {
          const { best, sure } = reading(network, noisePixels(i + 1, page.sets.test.size));
          return sure[best];
        });
        const mean = outputs.reduce((sum, a) => sum + a, 0) / NOISE_IMAGES;
        const clear = outputs.filter((a) => a >= 0.5).length;
        return { right: classOf(mean, SURE_LIMITS), words: text("sure.answer", { mean: words(mean), count: clear, all: NOISE_IMAGES, limit: limit(0.5) }) };
      },
    });
  }
  return {
    update() {
      if (page.network().params === asked || !page.isReady()) return;
      asked = page.network().params;
      ask();
    },
  };
}
