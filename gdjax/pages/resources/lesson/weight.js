// A change of one weight: the cost changes by the slope times this change, as long as it is small.

import { byId, option } from "../base.js";
import { number } from "../numbers.js";
import { reading } from "./draw.js";
import { imageGradient, parameterWords } from "./matter.js";
import { COSTS } from "./network.js";
import { showQuestion } from "./question.js";
import { pixelsInto } from "./squares.js";
import { say, text } from "./text.js";

const NUDGES = [0.01, 0.1, 1];

export function weightCard(page) {
  let rank = 0; // rank of the slope by size
  let shown = null; // subject of the question
  byId("weight-nudge").append(...NUDGES.map((h) => option(h, number(h))));
  byId("weight-nudge").value = "0.1";
  byId("weight-nudge").addEventListener("change", () => ask());
  byId("weight-next").addEventListener("click", () => {
    rank += 1;
    ask();
  });

  function ask() {
    const network = page.network();
    const read = page.reading();
    const target = page.image().label ?? read.best;
    const gradient = imageGradient(network, read, target);
    const order = Array.from(gradient.keys()).sort((a, b) => Math.abs(gradient[b]) - Math.abs(gradient[a]));
    const at = order[rank % 50];
    const slope = gradient[at];
    const nudge = Number(byId("weight-nudge").value);
    const costAt = (h) => {
      const params = network.params.slice();
      params[at] += h;
      return COSTS[network.model.cost].value(reading({ ...network, params }, read.pixels).activities.at(-1), target);
    };
    const told = text("weight.told", {
      name: parameterWords(read.layers, at), value: network.params[at], target, cost: costAt(0), slope, nudge,
    });
    say("weight-told", told);
    const steep = slope || 1; // with a slope of 0, the other choices differ from it
    const choices = [nudge === 1 ? steep / 10 : steep, -steep * nudge, steep * nudge, 0];
    showQuestion(byId("weight-question"), {
      ask: text("weight.ask"),
      choices: choices.map((change) => text("weight.choice", { change })),
      isReady: page.isReady,
      pictures: [{ words: told, draw: (pen, width) => pixelsInto(pen, read.pixels, 0, 0, width) }],
      async answer() {
        const change = costAt(nudge) - costAt(0);
        const distances = choices.map((choice) => Math.abs(choice - change));
        return {
          right: distances.indexOf(Math.min(...distances)),
          words: text("weight.answer", { change, slope, nudge, predicted: slope * nudge }),
        };
      },
    });
  }
  return {
    update() {
      const now = { params: page.network().params, key: page.image().key };
      if (!page.isReady() || (shown?.params === now.params && shown.key === now.key)) return;
      shown = now;
      ask();
    },
  };
}
