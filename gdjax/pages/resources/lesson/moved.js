// A digit that is moved by a few pixels: does the network still read it? A drawing is centered before
// it is read, so the network has never seen a digit beside the middle.

import { byId, fitted } from "../base.js";
import { reading } from "./draw.js";
import { shifted } from "./many.js";
import { classOf, dropQuestion, rangesOf, showQuestion } from "./question.js";
import { pixelsInto } from "./squares.js";
import { limitWords, outputWords, text } from "./text.js";

const SHIFT = [5, -3]; // pixels to the right and down
const OUTPUT_LIMITS = [0.25, 0.5, 0.75];

export function movedCard(page) {
  let shown = null; // {params, key} of the question
  let pixels = null;
  const redraw = fitted(byId("moved-image"), 1, (pen, width) => pixels && pixelsInto(pen, pixels, 0, 0, width));

  // In its step, the question waits until the learner says which digit was drawn.
  const labelOf = () => page.image().label ?? (page.lesson === 1 ? null : page.reading().best);

  function ask() {
    const network = page.network();
    const label = labelOf();
    const own = page.image().pixels;
    const moved = shifted(own, SHIFT);
    pixels = moved;
    redraw();
    showQuestion(byId("moved-question"), {
      ask: text("moved.ask", { count: SHIFT[0], label }),
      choices: rangesOf(OUTPUT_LIMITS, (value) => limitWords(network.model, value)),
      isReady: page.isReady,
      pictures: [{ words: text("moved.image"), draw: (pen, width) => pixelsInto(pen, moved, 0, 0, width) }],
      async answer() {
        const [before, after] = [own, moved].map((one) => reading(network, one));
        return {
          right: classOf(after.sure[label], OUTPUT_LIMITS),
          words: text("moved.answer", {
            label, before: outputWords(network.model, before.sure[label]), after: outputWords(network.model, after.sure[label]), best: after.best,
          }),
        };
      },
    });
  }
  return {
    update() {
      const now = { params: page.network().params, key: page.image().key };
      if (!page.isReady() || (shown?.params === now.params && shown.key === now.key)) return;
      shown = now;
      const isKnown = labelOf() !== null;
      byId("moved-figure").hidden = !isKnown;
      if (isKnown) ask();
      else dropQuestion(byId("moved-question"));
    },
  };
}
