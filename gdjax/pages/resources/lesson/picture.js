// Question: which of three pictures shows the gradient for the current image? The gradient with respect
// to the weights of a first-layer neuron is the image times one number. The others are the gradient for
// another image of the same digit, and the weights themselves.

import { byId, element, fitted } from "../base.js";
import { number } from "../numbers.js";
import { reading } from "./draw.js";
import { imageAt } from "./images.js";
import { imageGradient } from "./matter.js";
import { showQuestion } from "./question.js";
import { pixelsInto, signedInto } from "./squares.js";
import { text } from "./text.js";

const GRADIENTS_ABC = ["A", "B", "C"];

export function pictureCard(page) {
  let pictures = [];
  let shown = null; // {params, key} of the question
  let asked = 0;
  const canvases = GRADIENTS_ABC.map((name) => {
    const canvas = element("canvas", { role: "img", "aria-label": text("picture.one", { name }) });
    byId("picture-three").append(element("figure", {}, canvas, element("figcaption", { textContent: name })));
    return canvas;
  });
  const drawOne = (values) => (pen, width) => signedInto(pen, values, 0, 0, width, values.reduce((best, v) => Math.max(best, Math.abs(v)), 0));
  const redraws = canvases.map((canvas, i) => fitted(canvas, 1, (pen, width) => pictures[i] && drawOne(pictures[i])(pen, width)));

  // The neuron with the largest gradient.
  function neuronOf(gradient, { from, to }) {
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
    const neuron = neuronOf(own, read.layers[0]);
    const count = test.labels.length;
    const order = Array.from(test.labels, (_, i) => ((page.image().at ?? -1) + 1 + i) % count);
    const next = order.find((at) => test.labels[at] === target) ?? order[0];
    const another = imageGradient(network, reading(network, imageAt(test, next)), target);
    const place = (asked + neuron) % 3;
    asked += 1;
    const all = asked % 2 ? [another, network.params] : [network.params, another];
    all.splice(place, 0, own);
    pictures = all.map((values) => values.slice(neuron * from, (neuron + 1) * from));
    redraws.forEach((redraw) => redraw());
    const factor = own[to * from + neuron];
    showQuestion(byId("picture-question"), {
      ask: text("picture.ask", { neuron }),
      choices: GRADIENTS_ABC,
      isReady: page.isReady,
      pictures: [
        { words: text("neuron.image"), draw: (pen, width) => pixelsInto(pen, read.pixels, 0, 0, width) },
        ...pictures.map((values, i) => ({ words: GRADIENTS_ABC[i], draw: drawOne(values) })),
      ],
      answer: async () => ({ right: place, words: text("picture.answer", { factor: number(factor) }) }),
    });
  }
  return {
    update() {
      if (!page.isReady()) return;
      const now = { params: page.network().params, key: page.image().key };
      if (shown && Object.keys(now).every((name) => now[name] === shown[name])) return;
      shown = now;
      ask();
    },
  };
}
