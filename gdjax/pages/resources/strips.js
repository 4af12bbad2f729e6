// Positions of runs among all runs: a strip of dots for each metric, on which a range can be
// brushed.

// `values` are those of all runs, and `state(run)` is "chosen", "brushed" or "". `brush(range)`
// receives the brushed range, or null for none.
function strip(canvas, name, values, share, state, brush) {
  const finite = Array.from(values).filter(Number.isFinite);
  let [low, high] = extent(finite);
  const log = low > 0 && high > 8 * low && !share;
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const infinite = values.some((v) => v === Infinity);
  const jitter = (run) => ((run * 7919) % 101) / 100 - 0.5;
  let range = null; // as positions from 0 to 1
  let place = null;
  let right = 0;

  const shareOf = (v) => (v === Infinity ? 1 : scale(low, high, 0, infinite ? 0.94 : 1, log)(v));
  const redraw = fitted(canvas, () => 74, (pen, width) => {
    right = width - 16;
    place = (s) => 12 + s * (right - 12);
    if (range) {
      pen.fillStyle = "#dcebf5";
      pen.fillRect(place(range[0]), 2, place(range[1]) - place(range[0]), 46);
      pen.strokeStyle = "#0b5d94";
      pen.lineWidth = 1.5;
      pen.strokeRect(place(range[0]), 2, place(range[1]) - place(range[0]), 46);
    }
    const passes = { "": ["rgb(83 93 108 / 40%)", 2.6], brushed: ["#0b5d94", 3.6], chosen: ["#b3420a", 5] };
    for (const [kind, [color, radius]] of Object.entries(passes)) {
      pen.fillStyle = color;
      for (let run = 0; run < values.length; run += 1) {
        if (state(run) !== kind) continue;
        const at = shareOf(values[run]);
        if (Number.isNaN(at)) continue;
        pen.beginPath();
        pen.arc(place(at), 25 + jitter(run) * 34, radius, 0, 7);
        pen.fill();
      }
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
    redraw();
    const inside = (v) => range !== null && shareOf(v) >= range[0] - 1e-9 && shareOf(v) <= range[1] + 1e-9;
    brush(range ? inside : null);
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
  return { redraw, clear: () => range && set(null) };
}
