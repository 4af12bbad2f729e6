// Mini-batches and the whole set, each at its best rate: after equal images, and after equal steps.
// The curves were computed by gdjax, as means over several starts.

import { DATA, byId } from "../base.js";
import { chart } from "../chart.js";
import { number, percent } from "../numbers.js";
import { showQuestion } from "./question.js";
import { text } from "./text.js";

const COLORS_OF_BATCHES = ["#0b5d94", "#b3420a"];

// The curve with the lowest cost after a number of steps: {rate, step, accuracy, cost}, up to there.
export function bestCurve({ rates, step, cost, accuracy }, steps) {
  const end = step.findIndex((at) => at >= steps);
  const row = (values, i) => values.subarray(i * step.length, i * step.length + end + 1);
  const curves = Array.from(rates, (rate, i) => ({ rate, step: step.slice(0, end + 1), cost: row(cost, i), accuracy: row(accuracy, i) }));
  return curves.reduce((best, one) => (one.cost.at(-1) < best.cost.at(-1) ? one : best));
}

export function fairCard(page) {
  const [batches, whole] = DATA.compared;
  const images = page.sets.train.labels.length;
  const steps = batches.step.at(-1);
  const epochs = (steps * batches.batch) / images;
  const equalImages = [bestCurve(batches, steps), bestCurve(whole, Math.max(1, Math.round(epochs)))];
  const equalSteps = [bestCurve(batches, steps), bestCurve(whole, steps)];
  const accuracyOf = (one) => one.accuracy.at(-1);
  const leads = ([first, second]) => accuracyOf(first) > accuracyOf(second);

  function ask() {
    byId("fair-curves").hidden = true;
    showQuestion(byId("fair-question"), {
      ask: text("fair.ask", { steps, images }),
      choices: [0, 1, 2, 3].map((i) => text(`fair.choice.${i}`)),
      async answer() {
        show();
        const right = 2 * (leads(equalImages) ? 0 : 1) + (leads(equalSteps) ? 0 : 1);
        const values = { steps, few: equalImages[1].step.at(-1) };
        for (const [name, pair] of [["images", equalImages], ["steps", equalSteps]]) {
          pair.forEach((one, i) => Object.assign(values, { [`${name}${i}`]: percent(accuracyOf(one)), [`rate_${name}${i}`]: one.rate }));
        }
        return { right, words: text("fair.answer", values) };
      },
    });
  }
  function show() {
    byId("fair-curves").hidden = false;
    byId("fair-wait").hidden = true;
    const shownImages = (one, batch) => Array.from(one.step, (step) => step * (batch || images));
    const axes = [
      ["fair-images", equalImages, shownImages, "fair.axis.images"],
      ["fair-steps", equalSteps, (one) => Array.from(one.step), "train.axis.plain"],
    ];
    for (const [id, pair, xOf, axis] of axes) {
      chart(byId(id), {
        x: text(axis), y: text("train.axis.accuracy"), height: 230, share: true, title: text("train.curve", { name: text("train.axis.accuracy") }),
        lines: pair.map((one, i) => ({ x: xOf(one, [batches, whole][i].batch), y: one.accuracy, color: COLORS_OF_BATCHES[i] })),
      });
    }
    byId("fair-key").textContent = text("fair.key", { batch: batches.batch, all: images, rates: Array.from(batches.rates, (rate) => number(rate)).join(", ") });
  }
  let isAsked = false;
  return {
    update() {
      if (!isAsked) ask();
      isAsked = true;
    },
  };
}
