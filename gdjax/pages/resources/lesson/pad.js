// Pad to draw a digit by mouse, finger or keyboard, and conversion of the drawing to pixels.
//
// A drawing is a list of lines, each a list of points [x, y], whole numbers on the pad's grid.

import { ARROWS, element, fitted, soon, within } from "../base.js";
import { pixelsInto } from "./squares.js";

const PAD_SIZE = 280;
const PEN_WIDTH = 28;

function newInk() {
  const ink = element("canvas", { width: PAD_SIZE, height: PAD_SIZE });
  const pen = ink.getContext("2d", { willReadFrequently: true });
  Object.assign(pen, { lineWidth: PEN_WIDTH, lineCap: "round", lineJoin: "round", strokeStyle: "#fff" });
  return { ink, pen };
}

function lineInto(pen, from, to) {
  pen.beginPath();
  pen.moveTo(...from);
  pen.lineTo(to[0] + 0.01, to[1]); // a single point also leaves ink
  pen.stroke();
}

// The pixels of a drawing, as the input of the network.
export function pixelsOfDrawing(lines) {
  const { ink, pen } = newInk();
  for (const line of lines) line.forEach((point, i) => lineInto(pen, line[Math.max(i - 1, 0)], point));
  return asPixels(ink);
}

// As in the data set, the box of the ink is scaled to 20 by 20 of 28 by 28 pixels, and then moved
// by whole pixels until its center of mass is nearest to the middle of pixel (14, 14).
function asPixels(ink, side = 28) {
  const size = ink.width;
  const raw = ink.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, size, size).data;
  let [left, right, top, bottom] = [size, -1, size, -1];
  for (let y = 0; y < size; y += 1) {
    for (let x = 0; x < size; x += 1) {
      if (raw[4 * (y * size + x) + 3] > 20) {
        left = Math.min(left, x);
        right = Math.max(right, x);
        top = Math.min(top, y);
        bottom = Math.max(bottom, y);
      }
    }
  }
  const pixels = new Uint8Array(side * side);
  if (right < 0) return pixels;
  const step = Math.max(right - left + 1, bottom - top + 1) / ((20 / 28) * side); // size of a pixel in the drawing
  // Share of ink in each pixel, with the scaled box centered at first.
  const [midX, midY] = [(left + right + 1) / 2, (top + bottom + 1) / 2];
  const place = (shiftX, shiftY) => {
    const found = new Float64Array(side * side);
    const fine = 4; // samples per pixel in each direction
    for (let i = 0; i < side * fine; i += 1) {
      const y = Math.floor(midY + ((i + 0.5) / fine - side / 2 + shiftY) * step);
      if (y < 0 || y >= size) continue;
      for (let j = 0; j < side * fine; j += 1) {
        const x = Math.floor(midX + ((j + 0.5) / fine - side / 2 + shiftX) * step);
        if (x < 0 || x >= size) continue;
        found[Math.floor(i / fine) * side + Math.floor(j / fine)] += raw[4 * (y * size + x) + 3] / fine ** 2;
      }
    }
    return found;
  };
  const first = place(0, 0);
  let [mass, massX, massY] = [0, 0, 0];
  first.forEach((p, i) => {
    mass += p;
    massX += p * (i % side);
    massY += p * Math.floor(i / side);
  });
  const centered = place(Math.round(massX / mass) - side / 2, Math.round(massY / mass) - side / 2);
  return Uint8Array.from(centered, (p) => Math.min(255, Math.round(p)));
}

// The pad: calls `drawn(lines)` as a drawing grows, with null when it is cleared. Returns functions
// that show a drawing or an image.
export function pad(canvas, drawn) {
  const { ink, pen } = newInk();
  let lines = [];
  let image = null; // image of the data set, or noise, if nothing is drawn
  let at = [PAD_SIZE / 2, PAD_SIZE / 4];
  let isDown = false;
  let isKeyboard = false;

  const redraw = fitted(canvas, 1, (out, width) => {
    out.fillStyle = "#101820";
    out.fillRect(0, 0, width, width);
    out.imageSmoothingEnabled = false;
    if (image) pixelsInto(out, image, 0, 0, width);
    else out.drawImage(ink, 0, 0, width, width);
    if (!isKeyboard) return;
    out.strokeStyle = isDown ? "#ffb454" : "#9fd0f2";
    out.lineWidth = 3;
    out.beginPath();
    out.arc((at[0] / PAD_SIZE) * width, (at[1] / PAD_SIZE) * width, 12, 0, 2 * Math.PI);
    out.stroke();
  });
  const soonDrawn = soon(() => drawn(lines));

  function begin(point) {
    if (image) show(null);
    lines.push([]);
    isDown = true;
    extend(point);
  }
  function extend(point) {
    const line = lines.at(-1);
    lineInto(pen, line.at(-1) || point, point);
    line.push(point);
    at = point;
    redraw();
    soonDrawn();
  }
  const inGrid = (v) => Math.min(Math.max(Math.round(v), 0), PAD_SIZE - 1);
  const pointOf = (event) => within(canvas, event).map((v) => inGrid((v / canvas.clientWidth) * PAD_SIZE));

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    isKeyboard = false;
    begin(pointOf(event));
    event.preventDefault();
    canvas.focus({ preventScroll: true });
  });
  canvas.addEventListener("pointermove", (event) => {
    if (isDown && !isKeyboard && canvas.hasPointerCapture(event.pointerId)) extend(pointOf(event));
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => !isKeyboard && (isDown = false));
  canvas.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (!arrow && event.key !== " ") return;
    event.preventDefault();
    isKeyboard = true;
    if (event.key === " ") {
      if (isDown) isDown = false;
      else begin(at);
    } else {
      const next = [at[0] + 8 * arrow[0], at[1] - 8 * arrow[1]].map((v) => Math.min(Math.max(v, 12), PAD_SIZE - 12));
      if (isDown) extend(next);
      at = next;
    }
    redraw();
  });
  canvas.addEventListener("blur", () => {
    isKeyboard = isDown = false;
    redraw();
  });

  function show(pixels, drawing = []) {
    image = pixels;
    lines = drawing;
    pen.clearRect(0, 0, PAD_SIZE, PAD_SIZE);
    for (const line of lines) line.forEach((point, i) => lineInto(pen, line[Math.max(i - 1, 0)], point));
    redraw();
  }
  return { show };
}
