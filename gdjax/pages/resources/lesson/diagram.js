// The network as a picture: the image, the layers as columns of circles, and lines whose width
// and opacity show the strength of the signals along them. A click or the arrow keys select a neuron.

import { ARROWS, css, fitted, rgb, within } from "../base.js";
import { largest } from "./network.js";
import { pixelsInto } from "./squares.js";
import { outputWords, text } from "./text.js";

export const ACTIVE = ["#ffffff", "#f6d8a8", "#e6993c", "#b3420a"];

// Lower where the network is not what the step is about.
const heightOf = (width) => {
  if (width < 420) return 220;
  return document.querySelector("main.compact") ? 250 : Math.max(330, Math.min(460, width * 0.62));
};

export function diagram(canvas, choose) {
  let now = null; // {layers, activities, pixels, sure, chosen}
  const redraw = fitted(canvas, heightOf, (pen, width, height) => {
    if (now) draw(pen, width, height);
  });

  // Positions of the image and the neurons, for the size of the canvas.
  function places() {
    const [width, height] = [canvas.clientWidth, parseFloat(canvas.style.height)];
    const { layers } = now;
    const isNarrow = width < 420;
    const isTiny = width < 260; // beside the pad on a phone, without the image
    const image = isTiny ? 0 : isNarrow ? 74 : Math.min(150, width * 0.2);
    const last = layers.length - 1;
    const first = isTiny ? 26 : image + (isNarrow ? 34 : 70);
    return {
      width, height, isNarrow, image, last,
      top: (height - (image || 130)) / 2,
      across: (l) => first + (l / last) * (width - (isTiny ? 34 : isNarrow ? 62 : 62 + 0.28 * width) - first),
      down: (l, i) => {
        const room = l === last ? Math.min(height - 30, layers[l].to * 36) : height - 26;
        return height / 2 + ((i + 0.5) / layers[l].to - 0.5) * room;
      },
      radius: (l) => Math.min(l === last ? 14 : 11, (height - 20) / layers[l].to / 2 - 1.5),
    };
  }

  function draw(pen) {
    const { layers, activities, pixels } = now;
    const at = places();
    // From the image to the first layer: one fan of lines per neuron, whose opacity shows its
    // activation.
    layers[0].bias.forEach((_, i) => {
      pen.strokeStyle = `rgb(83 93 108 / ${0.06 + 0.35 * Math.min(Math.max(activities[0][i], 0), 1)})`;
      pen.lineWidth = 1;
      for (const share of [0.08, 0.36, 0.64, 0.92]) {
        pen.beginPath();
        pen.moveTo(at.image + 3, at.top + share * (at.height - 2 * at.top));
        pen.lineTo(at.across(0), at.down(0, i));
        pen.stroke();
      }
    });
    for (let l = 1; l < layers.length; l += 1) drawLines(pen, at, l);
    if (at.image) pixelsInto(pen, pixels, 0, at.top, at.image);
    layers.forEach((_, l) => drawNeurons(pen, at, l));
    pen.fillStyle = "#535d6c";
    pen.font = "13px Inter, system-ui, sans-serif";
    pen.textAlign = "center";
    if (at.image) pen.fillText(String(pixels.length), at.image / 2, at.top + at.image + 14);
    pen.textAlign = "left";
  }

  function drawLines(pen, at, l) {
    const { from, weights } = now.layers[l];
    const flows = weights.map((w, k) => w * now.activities[l - 1][k % from]);
    const most = flows.reduce((best, flow) => Math.max(best, Math.abs(flow)), 1e-9);
    flows.forEach((flow, k) => {
      const strength = Math.abs(flow) / most;
      if (!(strength > 0.02)) return;
      pen.strokeStyle = `rgb(${flow > 0 ? "179 66 10" : "11 93 148"} / ${0.08 + 0.8 * strength})`;
      pen.lineWidth = 0.5 + 2.2 * strength;
      pen.beginPath();
      pen.moveTo(at.across(l - 1), at.down(l - 1, k % from));
      pen.lineTo(at.across(l), at.down(l, Math.floor(k / from)));
      pen.stroke();
    });
  }

  function drawNeurons(pen, at, l) {
    const { sure, chosen, isTied } = now;
    const best = isTied ? -1 : largest(sure);
    const isOutput = l === at.last;
    const activities = isOutput ? sure : now.activities[l];
    pen.textBaseline = "middle";
    activities.forEach((a, i) => {
      const [x, y, radius] = [at.across(l), at.down(l, i), at.radius(l)];
      const isBest = isOutput && i === best;
      pen.beginPath();
      pen.arc(x, y, radius, 0, 2 * Math.PI);
      pen.fillStyle = css(rgb(ACTIVE, a));
      pen.fill();
      pen.lineWidth = isBest ? 3 : 1;
      pen.strokeStyle = "#1d2530";
      pen.stroke();
      if (chosen && chosen.layer === l && chosen.neuron === i) {
        pen.beginPath();
        pen.arc(x, y, radius + 4, 0, 2 * Math.PI);
        pen.lineWidth = 3;
        pen.strokeStyle = "#00735a";
        pen.stroke();
      }
      if (!isOutput) return;
      pen.fillStyle = "#1d2530";
      pen.font = `${isBest ? 700 : 500} ${at.isNarrow ? 15 : 19}px Inter, system-ui, sans-serif`;
      pen.fillText(String(i), x + radius + 8, y);
      if (at.isNarrow) return;
      const room = at.width - x - radius - 34;
      pen.fillStyle = "#e9e5dc";
      pen.fillRect(x + radius + 28, y - 5, room, 10);
      pen.fillStyle = isBest ? "#b3420a" : "#868d98";
      pen.fillRect(x + radius + 28, y - 5, room * Math.min(Math.max(a, 0), 1), 10);
    });
  }

  function select(chosen) {
    now = { ...now, chosen };
    choose(chosen);
  }
  canvas.addEventListener("click", (event) => {
    if (!now) return;
    const at = places();
    const [x, y] = within(canvas, event);
    const neurons = now.layers.flatMap(({ to }, layer) =>
      Array.from({ length: to }, (_, neuron) => ({
        layer, neuron, distance: Math.hypot(at.across(layer) - x, at.down(layer, neuron) - y),
      })),
    );
    const nearest = neurons.reduce((best, one) => (one.distance < best.distance ? one : best));
    if (nearest.distance < 24) select({ layer: nearest.layer, neuron: nearest.neuron });
  });
  canvas.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (!arrow || !now) return;
    event.preventDefault();
    const { layer, neuron } = now.chosen || { layer: 0, neuron: -1 };
    const next = Math.min(Math.max(layer + (now.chosen ? arrow[0] : 0), 0), now.layers.length - 1);
    const last = now.layers[next].to - 1;
    select({ layer: next, neuron: Math.min(Math.max(neuron - arrow[1], 0), last) });
  });
  return (next) => {
    now = next;
    const outputs = Array.from(now.sure, (a, digit) => `${digit}: ${outputWords(now.model, a)}`).join(", ");
    const widths = [now.pixels.length, ...now.layers.map(({ to }) => to)].join(" → ");
    canvas.setAttribute("aria-label", text("draw.network", { widths, outputs }));
    redraw();
  };
}
