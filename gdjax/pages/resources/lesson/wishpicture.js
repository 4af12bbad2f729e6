// The wishes as a picture: the image, the neurons with their numbers, an arrow up or down for each wish, and the strongest
// paths between layers.

import { bright, css, fitted, rgb } from "../base.js";
import { number } from "../numbers.js";
import { ACTIVE } from "./diagram.js";
import { pixelsInto } from "./squares.js";

const [UP, DOWN] = ["179 66 10", "11 93 148"]; // orange and blue
const colorOf = (wish) => (wish > 0 ? UP : DOWN);
const sizeOfLargest = (values) => values.reduce((best, v) => Math.max(best, Math.abs(v)), 0) || 1;

// An arrow up or down at a point, as long as its share of `room`.
export function arrowInto(pen, x, y, share, room) {
  const length = Math.sign(share) * Math.max(Math.abs(share) * room, 3);
  const head = Math.min(5, Math.abs(length) * 0.7);
  pen.strokeStyle = pen.fillStyle = `rgb(${colorOf(share)})`;
  pen.lineWidth = 2;
  pen.beginPath();
  pen.moveTo(x, y + length / 2);
  pen.lineTo(x, y - length / 2 + Math.sign(length) * head * 0.6);
  pen.stroke();
  pen.beginPath();
  pen.moveTo(x, y - length / 2);
  pen.lineTo(x - head, y - length / 2 + Math.sign(length) * head);
  pen.lineTo(x + head, y - length / 2 + Math.sign(length) * head);
  pen.fill();
}

// What is drawn: {read, target, focus, wishes: [of each layer, or null], bias, paths}.
export function wishPicture(canvas, heightOf) {
  let shown = null;
  const redraw = fitted(canvas, heightOf, (pen, width, height) => shown && wishesInto(pen, width, height, shown));
  return (next) => {
    shown = next;
    redraw();
  };
}

export function wishesInto(pen, width, height, { read, target, focus = null, wishes = [], bias = null, paths = [] }) {
  const { layers, activities, pixels, sure } = read;
  const last = layers.length - 1;
  const isNarrow = width < 420;
  const side = Math.min(isNarrow ? 64 : 110, width * 0.2);
  const [first, end] = [side + (isNarrow ? 26 : 60), width - (isNarrow ? 92 : 170)];
  const across = (l) => first + (l / last) * (end - first);
  const down = (l, i) => height / 2 + ((i + 0.5) / layers[l].to - 0.5) * (height - 12);
  const step = (l) => (height - 12) / layers[l].to;
  const radiusOf = (l) => Math.min(12, step(l) / 2 - 1.5);

  pixelsInto(pen, pixels, 0, (height - side) / 2, side);
  layers[0].bias.forEach((_, i) => {
    pen.strokeStyle = "rgb(83 93 108 / 14%)";
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(side + 3, height / 2);
    pen.lineTo(across(0), down(0, i));
    pen.stroke();
  });
  const most = sizeOfLargest(paths.map(({ wish }) => wish));
  for (const { layer, to, from, wish } of paths) {
    const strength = Math.abs(wish) / most;
    pen.strokeStyle = `rgb(${colorOf(wish)} / ${0.35 + 0.6 * strength})`;
    pen.lineWidth = 1 + 4.5 * strength;
    pen.beginPath();
    pen.moveTo(across(layer - 1), down(layer - 1, from));
    pen.lineTo(across(layer), down(layer, to));
    pen.stroke();
  }
  layers.forEach(({ to }, l) => {
    const values = l === last ? sure : activities[l];
    const strongest = wishes[l] ? sizeOfLargest(wishes[l]) : 1;
    for (let i = 0; i < to; i += 1) {
      const [x, y, radius] = [across(l), down(l, i), radiusOf(l)];
      pen.beginPath();
      pen.arc(x, y, radius, 0, 2 * Math.PI);
      const color = rgb(ACTIVE, values[i]);
      pen.fillStyle = css(color);
      pen.fill();
      const isFocus = l === last && i === focus;
      pen.lineWidth = isFocus ? 3 : 1;
      pen.strokeStyle = isFocus ? "#00735a" : "#1d2530";
      pen.stroke();
      if (wishes[l]) arrowInto(pen, x + radius + 8, y, wishes[l][i] / strongest, step(l) - 3);
      if (l === last) label(pen, x + radius + 18, y, i);
      else if (radius > 4) {
        pen.fillStyle = bright(color) ? "#1d2530" : "#ffffff";
        pen.font = `${Math.round(radius + 2)}px Inter, system-ui, sans-serif`;
        pen.textAlign = "center";
        pen.textBaseline = "middle";
        pen.fillText(String(i), x, y + 0.5);
      }
    }
  });
  if (bias !== null) {
    pen.fillStyle = `rgb(${colorOf(bias)})`;
    pen.font = "600 13px Inter, system-ui, sans-serif";
    pen.textAlign = "center";
    pen.fillText(`b ${bias > 0 ? "↑" : "↓"}`, across(last) - 26, down(last, focus) - 10);
  }

  function label(pen, x, y, digit) {
    const isTarget = digit === target;
    pen.textBaseline = "middle";
    pen.textAlign = "left";
    pen.fillStyle = isTarget ? "#00735a" : "#1d2530";
    pen.font = `${isTarget ? 700 : 500} ${isNarrow ? 14 : 17}px Inter, system-ui, sans-serif`;
    pen.fillText(String(digit), x, y);
    pen.font = "13px Inter, system-ui, sans-serif";
    if (wishes[last]) {
      const wish = wishes[last][digit];
      pen.fillStyle = `rgb(${colorOf(wish)})`;
      pen.fillText(`${wish > 0 ? "+" : ""}${number(wish, 2)}`, x + 18, y);
      return;
    }
    // The output, and its target as a line.
    const [left, room] = [x + 16, width - x - 20];
    pen.fillStyle = "#e9e5dc";
    pen.fillRect(left, y - 5, room, 10);
    pen.fillStyle = isTarget ? "#00735a" : "#868d98";
    pen.fillRect(left, y - 5, room * Math.min(Math.max(sure[digit], 0), 1), 10);
    pen.fillStyle = "#1d2530";
    pen.fillRect(left + (isTarget ? room - 2 : 0), y - 7, 2, 14);
  }
}
