// The card with the drawing of a digit, and the network that classifies it.

import { byId, element } from "../base.js";
import { answerOf, forward, layersOf, litPixels } from "./network.js";
import { diagram } from "./diagram.js";
import { neuronPanel } from "./neuron.js";
import { imageAt } from "./images.js";
import { pad, pixelsOfDrawing } from "./pad.js";
import { randomBits } from "./threefry.js";
import { limitWords, outputWords, say, sentences, text } from "./text.js";

export const NO_IMAGE = { digit: null, noise: null, drawing: null, label: null, isEmpty: false };

// The image that the state describes: {pixels, label, words, key}, with equal keys for equal images.
// Without an opening image, none is shown.
export function imageOf({ digit, noise, drawing, label: own, isEmpty }, test, opening) {
  const { size } = test;
  if (drawing) return { pixels: pixelsOfDrawing(drawing), label: own, words: text("draw.own"), key: JSON.stringify([drawing, own]) };
  if (noise) return { pixels: noisePixels(noise, size), label: null, words: text("draw.isNoise"), key: `noise ${noise}` };
  if (isEmpty || (digit ?? opening) === null) return { pixels: new Uint8Array(size), label: null, words: text("draw.empty"), key: "" };
  const at = digit ?? opening;
  const label = test.labels[at];
  return { at, pixels: imageAt(test, at), label, words: text("draw.digit", { shown: at + 1, all: test.labels.length, label }), key: `digit ${at}` };
}

export const noisePixels = (seed, size) => Uint8Array.from(randomBits([0, seed], size), (bits) => bits >>> 24);

// All values that a network computes for an image.
export function reading({ model, params }, pixels) {
  const layers = layersOf(model, params);
  const activities = forward(layers, litPixels(pixels, pixels.length));
  return { layers, activities, pixels, ...answerOf(model, activities.at(-1)) };
}

export function answerWords(model, { best, second, sure, isTied, isBroken }) {
  if (isBroken) return text("draw.broken");
  if (isTied) return text("draw.tied", { value: outputWords(model, sure[best]) });
  return text("draw.answer", { best, first: outputWords(model, sure[best]), second, next: outputWords(model, sure[second]) });
}

export function drawCard(page) {
  let chosen = null; // neuron
  const showNeuron = neuronPanel(byId("neuron"));
  const showNetwork = diagram(byId("network"), (neuron) => {
    chosen = neuron;
    page.changed();
  });
  const drawing = pad(byId("pad"), (lines) => page.change({ ...NO_IMAGE, drawing: lines }));

  function showImage(part) {
    page.change({ ...NO_IMAGE, ...part });
    reset();
  }
  function showDigit(step) {
    const all = page.sets.test.labels.length;
    const from = page.image().at ?? (step > 0 ? -1 : 0);
    showImage({ digit: (from + step + all) % all });
  }
  byId("clear").addEventListener("click", () => showImage({ isEmpty: true }));
  let noises = page.state.noise ?? 0;
  byId("noise").addEventListener("click", () => showImage({ noise: (noises += 1) }));
  byId("next").addEventListener("click", () => showDigit(1));
  byId("previous").addEventListener("click", () => showDigit(-1));

  // A drawing has no label, so the learner says which digit it is.
  const labels = Array.from({ length: page.sets.widths.at(-1) }, (_, digit) => {
    const button = element("button", { type: "button", textContent: String(digit) });
    button.addEventListener("click", () => page.change({ label: digit }));
    return button;
  });
  byId("own-label").append(element("span", { textContent: text("draw.which") }), ...labels);

  // Shows the image of the address; a drawing can be continued.
  function reset() {
    if (page.state.drawing) drawing.show(null, page.state.drawing);
    else drawing.show(page.image().pixels.some((p) => p) ? page.image().pixels : null);
  }

  function update() {
    const { label, words } = page.image();
    const { model, step, nudges } = page.network();
    const read = page.reading();
    const isEmpty = !read.pixels.some((p) => p);
    showNetwork({ ...read, model, chosen });
    showNeuron(read, chosen);
    say("example-told", words);
    say("answer", isEmpty ? text("draw.ask") : sentences(
      answerWords(model, read),
      label === null || read.isTied || read.isBroken ? "" : read.best === label ? text("draw.right") : text("draw.wrong", { label }),
    ));
    const { drawing: lines, label: own } = page.state;
    byId("own-label").hidden = !lines || page.lesson > 1;
    labels.forEach((button, digit) => button.setAttribute("aria-pressed", String(digit === own)));
    const isOwn = Boolean(lines) && own !== null && page.lesson < 2;
    byId("answer").classList.toggle("won", isOwn && read.best === own);
    say("cheer", isOwn ? text(read.best === own ? "draw.cheer" : "draw.missed") : "");
    // Below the pad, which would move under the pen if a line came and went above it.
    say("unsure", isEmpty || read.isClear || read.isTied || read.isBroken ? "" : text("draw.unsure", { limit: limitWords(model, 0.5) }));
    say("network-told", sentences(
      step ? text("draw.shown.step", { count: step }) : text("draw.shown.start"),
      nudges ? text("draw.shown.nudged", { count: nudges }) : "",
    ));
  }
  function forget() {
    chosen = null;
  }
  return { update, reset, forget };
}
