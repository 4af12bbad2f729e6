// Positions of runs among all runs: a strip of dots for each metric, on which a range can be
// brushed.

// Dots as pixels of an image, which is fast for a hundred thousand runs: [radius, red, green, blue,
// opacity] of runs in gray, brushed runs and chosen runs.
const DOTS = [[2.6, 83, 93, 108, 0.4], [3.6, 11, 93, 148, 1], [5, 179, 66, 10, 1]];
const HIDDEN = 3;

function discOf(radius) {
  const result = [];
  const r = Math.ceil(radius);
  for (let y = -r; y <= r; y += 1) for (let x = -r; x <= r; x += 1) if (x * x + y * y <= radius * radius) result.push([x, y]);
  return result;
}

// Draws the dots of the runs with the given status into `pixels`, an image of `width` x `height`.
function drawDots(pixels, width, height, places, status, kind, dense) {
  const [radius, red, green, blue, opacity] = DOTS[kind];
  const disc = discOf((status.length > 5000 ? Math.min(radius, kind + 1) : radius) * dense);
  for (let run = 0; run < status.length; run += 1) {
    if (status[run] !== kind || places[2 * run] < 0) continue;
    for (const [dx, dy] of disc) {
      const [x, y] = [places[2 * run] + dx, places[2 * run + 1] + dy];
      if (x < 0 || x >= width || y < 0 || y >= height) continue;
      const at = 4 * (y * width + x);
      const alpha = opacity === 1 ? 255 : pixels[at + 3] + opacity * (255 - pixels[at + 3]);
      pixels[at] = red;
      pixels[at + 1] = green;
      pixels[at + 2] = blue;
      pixels[at + 3] = alpha;
    }
  }
}

// `values` are those of all runs, and `status()` has 0, 1 for brushed, 2 for chosen or 3 for hidden
// runs. `brush(inside)` receives a function of a run, or null for no range.
function strip(canvas, name, values, share, status, brush) {
  let [low, high] = extent(values);
  const log = low > 0 && high > 8 * low && !share;
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const infinite = values.some((v) => v === Infinity);
  const jitter = (run) => ((run * 7919) % 101) / 100 - 0.5;
  let range = null; // as positions from 0 to 1
  let place = null;
  let right = 0;
  let base = null; // image of all visible runs in gray, and the positions of runs

  const shareOn = scale(low, high, 0, infinite ? 0.94 : 1, log);
  const shareOf = (v) => (v === Infinity ? 1 : shareOn(v));
  const shares = Float32Array.from(values, shareOf);
  function layer(width, height, dense) {
    const places = new Int32Array(2 * values.length).fill(-1);
    for (let run = 0; run < values.length; run += 1) {
      if (Number.isNaN(shares[run])) continue;
      places[2 * run] = Math.round(place(shares[run]) * dense);
      places[2 * run + 1] = Math.round((25 + jitter(run) * 34) * dense);
    }
    const image = new ImageData(width, height);
    const hidden = status().map((kind) => (kind === HIDDEN ? HIDDEN : 0));
    drawDots(image.data, width, height, places, hidden, 0, dense);
    base = { image, places, width, dense };
  }
  const redraw = fitted(canvas, () => 74, (pen, width, height) => {
    right = width - 16;
    place = (s) => 12 + s * (right - 12);
    const dense = canvas.width / width;
    if (!base || base.width !== canvas.width) layer(canvas.width, canvas.height, dense);
    const image = new ImageData(new Uint8ClampedArray(base.image.data), canvas.width, canvas.height);
    for (const kind of [1, 2]) drawDots(image.data, canvas.width, canvas.height, base.places, status(), kind, dense);
    pen.putImageData(image, 0, 0);
    if (range) {
      pen.fillStyle = "rgb(11 93 148 / 14%)";
      pen.fillRect(place(range[0]), 2, place(range[1]) - place(range[0]), 46);
      pen.strokeStyle = "#0b5d94";
      pen.lineWidth = 1.5;
      pen.strokeRect(place(range[0]), 2, place(range[1]) - place(range[0]), 46);
    }
    pen.strokeStyle = "#868d98";
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(12, 50.5);
    pen.lineTo(right, 50.5);
    pen.stroke();
    pen.fillStyle = "#535d6c";
    pen.font = "12px Inter, system-ui, sans-serif";
    pen.textAlign = "center";
    for (const t of ticks(low, high, log, 6)) pen.fillText(share ? `${Math.round(100 * t)} %` : number(t), place(shareOf(t)), 66);
    if (infinite) pen.fillText("∞", place(1), 66);
  });

  function set(next) {
    range = next && next[1] - next[0] > 0.002 ? next : null;
    // Runs without a position are not in the range.
    brush(range && ((run) => shares[run] >= range[0] - 1e-6 && shares[run] <= range[1] + 1e-6));
  }
  let from = null;
  const shareAt = (event) => Math.min(Math.max((within(canvas, event)[0] - 12) / (right - 12), 0), 1);
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    from = shareAt(event);
    set(null);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (from === null) return;
    const to = shareAt(event);
    set([Math.min(from, to), Math.max(from, to)]);
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (from = null));
  canvas.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (event.key === "Escape") return set(null);
    if (!arrow || !arrow[0]) return;
    event.preventDefault();
    const [a, b] = range || [0.45, 0.55];
    const move = 0.02 * arrow[0];
    if (!range) set([a, b]);
    else if (event.shiftKey) set([a, Math.min(Math.max(b + move, a + 0.02), 1)]);
    else if (a + move >= 0 && b + move <= 1) set([a + move, b + move]);
  });
  canvas.setAttribute("aria-label", `${name} of all runs. Arrow keys brush a range and move it, shift and arrows widen it, escape clears it.`);
  return {
    redraw, set, range: () => range,
    renew: () => {
      base = null;
      redraw();
    },
  };
}
