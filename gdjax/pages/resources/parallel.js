// Parallel coordinates: an upright line for each axis and metric, and a path for each run, with
// brushing. The page draws some of the runs, and all brushed and chosen ones up to a limit.

const MAX_PATHS = 2000;

// Each of `lines` has a name, the values of all runs, and that of the run that branches left, which is drawn
// dashed if it is on the line; `brush(k, inside)` receives a function
// of a run or null.
function parallelPlot(canvas, lines, count_, status, brush) {
  const ranges = lines.map(() => null); // as positions from 0 to 1
  let order = lines.map((_, k) => k);
  let current = 0;
  let from = null;
  const places = lines.map(({ values, texts, share }) => {
    if (texts) return (v) => (v < 0 ? NaN : texts.length > 1 ? 0.04 + (0.92 * v) / (texts.length - 1) : 0.5);
    const [low, high] = extent(values);
    const place = scale(low, high, 0.04, values.some((v) => v === Infinity) ? 0.9 : 0.96, low > 0 && high > 8 * low && !share);
    return (v) => (v === Infinity ? 1 : low === high && v === low ? 0.5 : place(v));
  });
  const shares = lines.map(({ values }, k) => Float32Array.from(values, places[k]));
  const parents = lines.map(({ parent }, k) => places[k](parent));
  const [top, bottom, side] = [34, 22, 44];
  let width = 0;
  let height = 0;
  const x = (k) => side + (order.length > 1 ? (order.indexOf(k) * (width - 2 * side)) / (order.length - 1) : (width - 2 * side) / 2);
  const y = (s) => height - bottom - s * (height - top - bottom);
  let base = null; // picture of the gray paths

  function path(pen, shareOf, lines_ = order) {
    let started = false;
    for (const k of lines_) {
      const s = shareOf(k);
      if (Number.isNaN(s)) started = false;
      else if (started) pen.lineTo(x(k), y(s));
      else {
        pen.moveTo(x(k), y(s));
        started = true;
      }
    }
  }
  function paths(pen, kind, color, thick) {
    const all = [];
    for (let run = 0; run < count_; run += 1) if (kind === 0 ? status()[run] !== HIDDEN : status()[run] === kind) all.push(run);
    const every = Math.max(1, all.length / MAX_PATHS);
    pen.strokeStyle = color;
    pen.lineWidth = thick;
    pen.beginPath();
    for (let i = 0; i < all.length; i += every) path(pen, (k) => shares[k][all[Math.floor(i)]]);
    pen.stroke();
    return all.length > MAX_PATHS;
  }
  const redraw = fitted(canvas, (w) => (w < 500 ? 260 : 300), (pen, w, h) => {
    [width, height] = [w, h];
    if (!base || base.width !== canvas.width) {
      base = element("canvas", { width: canvas.width, height: canvas.height });
      const back = base.getContext("2d");
      back.scale(canvas.width / w, canvas.height / h);
      paths(back, 0, count_ > 300 ? "rgb(83 93 108 / 14%)" : "rgb(83 93 108 / 35%)", 1);
    }
    pen.drawImage(base, 0, 0, w, h);
    paths(pen, 1, "rgb(11 93 148 / 55%)", 1.2);
    paths(pen, 2, "#b3420a", 2);
    pen.strokeStyle = "#1d2530";
    pen.setLineDash([6, 4]);
    pen.beginPath();
    path(pen, (k) => parents[k], order.filter((k) => parents[k] >= 0 && parents[k] <= 1));
    pen.stroke();
    pen.setLineDash([]);
    pen.font = "12px Inter, system-ui, sans-serif";
    pen.textAlign = "center";
    for (const k of order) {
      const { name, texts, values, share } = lines[k];
      pen.strokeStyle = "#868d98";
      pen.lineWidth = 1;
      pen.beginPath();
      pen.moveTo(x(k), y(0));
      pen.lineTo(x(k), y(1));
      pen.stroke();
      pen.fillStyle = "#1d2530";
      pen.font = `${k === current ? 650 : 400} 12px Inter, system-ui, sans-serif`;
      const room = (w - 2 * side) / Math.max(order.length - 1, 1) - 6;
      pen.fillText(name, x(k), order.indexOf(k) % 2 && room < 90 ? 26 : 13, Math.max(room * (room < 90 ? 2 : 1), 30));
      pen.fillStyle = "#535d6c";
      pen.font = "11px Inter, system-ui, sans-serif";
      const [low, high] = texts ? [texts[0], texts.at(-1)] : extent(values).map((v) => (share ? percent(v) : number(v)));
      pen.fillText(low, x(k), h - 6, 70);
      if (!(room < 90)) pen.fillText(high, x(k), 27, 70);
      if (!ranges[k]) continue;
      pen.fillStyle = "rgb(11 93 148 / 25%)";
      pen.fillRect(x(k) - 9, y(ranges[k][1]), 18, y(ranges[k][0]) - y(ranges[k][1]));
      pen.strokeStyle = "#0b5d94";
      pen.strokeRect(x(k) - 9, y(ranges[k][1]), 18, y(ranges[k][0]) - y(ranges[k][1]));
    }
  });
  function set(k, next) {
    ranges[k] = next && next[1] - next[0] > 0.01 ? next : null;
    tell(k);
  }
  function tell(k) {
    brush(k, ranges[k] && ((run) => shares[k][run] >= ranges[k][0] && shares[k][run] <= ranges[k][1]));
  }
  function move(k, by) {
    const at = order.indexOf(k);
    const to = Math.min(Math.max(at + by, 0), order.length - 1);
    order.splice(to, 0, ...order.splice(at, 1));
    base = null;
    redraw();
  }
  const shareAt = (event) => Math.min(Math.max((height - bottom - within(canvas, event)[1]) / (height - top - bottom), 0), 1);
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    const [px] = within(canvas, event);
    current = order.reduce((best, k) => (Math.abs(x(k) - px) < Math.abs(x(best) - px) ? k : best), order[0]);
    from = shareAt(event);
    set(current, null);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (from === null) return;
    const to = shareAt(event);
    set(current, [Math.min(from, to), Math.max(from, to)]);
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (from = null));
  canvas.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (event.key === "Escape") return set(current, null);
    if (!arrow) return;
    event.preventDefault();
    if (arrow[0] && event.shiftKey) return move(current, arrow[0]);
    if (arrow[0]) {
      current = order[Math.min(Math.max(order.indexOf(current) + arrow[0], 0), order.length - 1)];
      return redraw();
    }
    const [a, b] = ranges[current] || [0, 0.3];
    const by = 0.04 * arrow[1];
    if (!ranges[current]) set(current, [a, b]);
    else if (event.shiftKey) set(current, [a, Math.min(Math.max(b + by, a + 0.02), 1)]);
    else if (a + by >= 0 && b + by <= 1) set(current, [a + by, b + by]);
  });
  const buttons = (left, right) => {
    left.addEventListener("click", () => move(current, -1));
    right.addEventListener("click", () => move(current, 1));
  };
  return {
    redraw, ranges, set, buttons,
    clear: () => ranges.forEach((range, k) => range && set(k, null)),
    renew: () => {
      base = null;
      redraw();
    },
  };
}
