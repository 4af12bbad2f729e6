// One neuron: its inputs, its weights, and its output.

import { byId, element, fitted } from "../base.js";
import { number } from "../numbers.js";
import { pixelsInto, signedInto } from "./squares.js";
import { say, text } from "./text.js";


export function neuronPanel(box) {
  let pictures = []; // {words, draw(pen, width)}
  const frames = [0, 1, 2].map(() => {
    const canvas = element("canvas", { role: "img" });
    const words = element("figcaption");
    const frame = element("figure", { hidden: true }, canvas, words);
    return { canvas, words, frame };
  });
  byId("neuron-pictures").append(...frames.map(({ frame }) => frame));
  const redraws = frames.map(({ canvas }, i) => fitted(canvas, 1, (pen, width) => pictures[i]?.draw(pen, width)));

  return ({ layers, activities, pixels }, chosen) => {
    box.hidden = !chosen;
    if (!chosen) return;
    const { layer, neuron } = chosen;
    const { from, weights, bias } = layers[layer];
    const own = weights.subarray(neuron * from, (neuron + 1) * from);
    const inputs = layer ? activities[layer - 1] : Float64Array.from(pixels, (p) => p / 255);
    const seen = own.map((w, j) => w * inputs[j]);
    const sum = seen.reduce((total, part) => total + part, 0);
    const isOutput = layer === layers.length - 1;
    byId("neuron-title").textContent = isOutput ? text("neuron.output", { neuron }) : text("neuron.hidden", { neuron, layer: layer + 1 });
    say("neuron-told", text("neuron.told", { sum: sum + bias[neuron], bias: bias[neuron], activity: activities[layer][neuron] }));
    const most = (values) => values.reduce((best, v) => Math.max(best, Math.abs(v)), 0);
    pictures = layer
      ? [{ words: text("neuron.incoming"), draw: (pen, width) => bars(pen, width, seen) }]
      : [
          { words: text("neuron.weights"), draw: (pen, width) => signedInto(pen, own, 0, 0, width, most(own)) },
          { words: text("neuron.image"), draw: (pen, width) => pixelsInto(pen, pixels, 0, 0, width) },
          { words: text("neuron.seen"), draw: (pen, width) => signedInto(pen, seen, 0, 0, width, most(seen)) },
        ];
    frames.forEach(({ frame, canvas, words }, i) => {
      frame.hidden = i >= pictures.length;
      if (frame.hidden) return;
      words.textContent = pictures[i].words;
      canvas.setAttribute("aria-label", pictures[i].words);
      redraws[i]();
    });
  };
}

// Draws a bar for each neuron of the previous layer, with its number; bars to the right are
// excitatory.
function bars(pen, width, values) {
  const most = values.reduce((best, v) => Math.max(best, Math.abs(v)), 1e-9);
  const row = width / values.length;
  const middle = width / 2;
  pen.font = "11px Inter, system-ui, sans-serif";
  pen.textBaseline = "middle";
  values.forEach((v, i) => {
    const y = (i + 0.5) * row;
    pen.fillStyle = v > 0 ? "#b3420a" : "#0b5d94";
    pen.fillRect(middle, y - row * 0.35, (v / most) * (middle - 34), row * 0.7);
    pen.fillStyle = "#1d2530";
    pen.textAlign = v > 0 ? "right" : "left";
    pen.fillText(`${i}: ${number(v)}`, middle + (v > 0 ? -6 : 6), y);
  });
}
