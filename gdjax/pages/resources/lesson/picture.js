// Question: which of three pictures shows the gradient for the current image? The gradient with respect
// to the weights of a first-layer neuron is the image times one number.

import { byId, element, fitted } from "../base.js";
import { number } from "../numbers.js";
import { reading } from "./draw.js";
import { imageAt } from "./images.js";
import { imageGradient } from "./matter.js";
import { showQuestion } from "./question.js";
import { signedInto } from "./squares.js";
import { text } from "./text.js";

const GRADIENTS_ABC = ["A", "B", "C"];

export function pictureCard(page) {
  let pictures = [];
  let shown = null; // {params, key, neuron} of the question
  let asked = 0;
  const canvases = GRADIENTS_ABC.map((name) => {
    const canvas = element("canvas", { role: "img", "aria-label": text("picture.one", { name }) });
    byId("picture-three").append(element("figure", {}, canvas, element("figcaption", { textContent: name })));
    return canvas;
  });
  const redraws = canvases.map((canvas, i) => fitted(canvas, 1, (pen, width) => {
    if (!pictures[i]) return;
    signedInto(pen, pictures[i], 0, 0, width, pictures[i].reduce((best, g) => Math.max(best, Math.abs(g)), 0));
  }));

  // The selected neuron if it is in the first layer; otherwise the one with the largest gradient.
  function neuronOf(gradient, { from, to }, chosen) {
    if (chosen && chosen.layer === 0) return chosen.neuron;
    const sizes = Array.from({ length: to }, (_, i) => Math.abs(gradient[to * from + i]));
    return sizes.indexOf(Math.max(...sizes));
  }

  function ask() {
    const { test } = page.sets;
    const network = page.network();
    const read = page.reading();
    const target = page.image().label ?? read.best;
    const own = imageGradient(network, read, target);
    const { from, to } = read.layers[0];
    const neuron = neuronOf(own, read.layers[0], page.chosen());
    const others = [];
    for (let i = 1; others.length < 2; i += 1) {
      const at = (7 * i + 13 * asked + (page.image().at ?? 0)) % test.labels.length;
      if (test.labels[at] === target || others.some(({ label }) => label === test.labels[at])) continue;
      others.push({ label: test.labels[at], gradient: imageGradient(network, reading(network, imageAt(test, at)), test.labels[at]) });
    }
    const place = (asked + neuron) % 3;
    asked += 1;
    const all = others.map(({ gradient }) => gradient);
    all.splice(place, 0, own);
    pictures = all.map((gradient) => gradient.slice(neuron * from, (neuron + 1) * from));
    redraws.forEach((redraw) => redraw());
    const factor = own[to * from + neuron];
    showQuestion(byId("picture-question"), {
      ask: text("picture.ask", { neuron }),
      choices: GRADIENTS_ABC,
      isReady: page.isReady,
      answer: async () => ({ right: place, words: text("picture.answer", { factor: number(factor) }) }),
    });
  }
  return {
    update() {
      if (!page.isReady()) return;
      const now = { params: page.network().params, key: page.image().key, neuron: page.chosen() };
      if (shown && Object.keys(now).every((name) => now[name] === shown[name])) return;
      shown = now;
      ask();
    },
  };
}
