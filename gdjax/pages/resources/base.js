// Functions of all pages: data, elements, colors, and canvases that fit the window.
// Text from data is inserted only as text nodes; no script creates markup from a string.

const VIEWS = { f4: Float32Array, f8: Float64Array, i4: Int32Array, u1: Uint8Array };

// Converts the arrays of the embedded data to typed arrays with a shape; keeps all other values.
function unpack(value) {
  if (Array.isArray(value)) return value.map(unpack);
  if (value === null || typeof value !== "object") return value;
  if (typeof value.bytes === "string" && value.kind in VIEWS && Array.isArray(value.shape)) {
    const bytes = Uint8Array.from(atob(value.bytes), (c) => c.charCodeAt(0));
    const array = new VIEWS[value.kind](bytes.buffer);
    array.shape = value.shape;
    return array;
  }
  return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, unpack(entry)]));
}

export const DATA = unpack(JSON.parse(document.getElementById("data").textContent));
export const byId = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

export function shape(tag, attributes = {}, text = null) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== null) made.textContent = text;
  return made;
}

export function option(value, text) {
  return element("option", { value: String(value), textContent: text });
}

// Color scales: equidistant stops, which also differ in lightness.
export const VIRIDIS = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];
export const VALLEY = ["#0b3c5d", "#1c6a8f", "#4496ad", "#86bfbd", "#c0dccb", "#e7efdb", "#f8f6ea"];
export const SIGNED = ["#0b4f8a", "#5b93c2", "#b7d0e3", "#ffffff", "#f2c1a3", "#d97a45", "#a63603"];
export const GREY = [200, 200, 200];

const parsed = new Map();
export function rgb(stops, share) {
  if (!Number.isFinite(share)) return GREY;
  if (!parsed.has(stops)) {
    parsed.set(stops, stops.map((s) => [1, 3, 5].map((i) => parseInt(s.slice(i, i + 2), 16))));
  }
  const table = parsed.get(stops);
  const place = Math.min(Math.max(share, 0), 1) * (table.length - 1);
  const low = Math.min(Math.floor(place), table.length - 2);
  return table[low].map((c, i) => Math.round(c + (place - low) * (table[low + 1][i] - c)));
}
export const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;
export const bright = ([r, g, b]) => 0.299 * r + 0.587 * g + 0.114 * b > 140;

// A canvas with the resolution of the screen, which is redrawn when its width changes. A hidden canvas
// has no width, so that it is redrawn when it is shown again.
export function fitted(canvas, ratio, draw) {
  let width = 0;
  const redraw = () => {
    width = canvas.clientWidth;
    if (!width) return;
    const height = Math.round(typeof ratio === "function" ? ratio(width) : width * ratio);
    const dense = window.devicePixelRatio || 1;
    canvas.style.height = `${height}px`;
    if (canvas.width !== Math.round(width * dense) || canvas.height !== Math.round(height * dense)) {
      canvas.width = Math.round(width * dense);
      canvas.height = Math.round(height * dense);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    pen.clearRect(0, 0, width, height);
    draw(pen, width, height);
  };
  new ResizeObserver(() => canvas.clientWidth !== width && redraw()).observe(canvas);
  redraw();
  return redraw;
}

// Position of a pointer in the units of the canvas.
export function within(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

// A small dark label that follows the pointer; null hides it.
export const tip = (() => {
  const box = element("div", { className: "tip", hidden: true, role: "presentation" });
  document.body.append(box);
  return (text, event) => {
    box.hidden = text === null;
    if (text === null) return;
    box.textContent = text;
    const x = Math.min(event.clientX + 14, window.innerWidth - box.offsetWidth - 8);
    const y = event.clientY + 18 + box.offsetHeight > window.innerHeight ? event.clientY - box.offsetHeight - 12 : event.clientY + 18;
    box.style.left = `${Math.max(x, 4)}px`;
    box.style.top = `${y}px`;
  };
})();

export const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

// Calls `draw` once before the next frame, even if requested several times.
export function soon(draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  };
}
