// Test functions with known critical points: a click starts a descent, which is drawn.

function tryDescents(root, functions) {
  const select = (id) => root.querySelector(`#${id}`);
  const canvas = select("plane-map");
  const rate = select("rate");
  const momentum = select("momentum");
  const steps = select("steps");
  const told = select("descent-told");
  const POINTS = { minimum: "▼", maximum: "▲", saddle: "✕", degenerate: "◆" };
  for (const name of Object.keys(functions)) select("function").append(option(name, words(name)));
  const order = Object.keys(functions);
  select("function").value = order.includes("himmelblau") ? "himmelblau" : order[0];
  let start = [0, 0];
  let found = { path: [start], diverged: null };
  let ground = null;
  let places = null;
  const name = () => select("function").value;
  const plane = () => PLANES[name()];
  const known = () => functions[name()];
  const eta = () => 10 ** Number(rate.value);
  const beta = () => Number(momentum.value);

  // The largest curvature at the known minima, or at all known points if there are no minima. It
  // limits the learning rate.
  function sharpest() {
    const minima = known().points.filter((_, i) => known().kinds[i] === "minimum");
    const curvature = ([x, y]) => {
      const e = 1e-5;
      const [px, mx, py, my] = [[x + e, y], [x - e, y], [x, y + e], [x, y - e]].map((at) => plane().slope(...at));
      const [a, b, d] = [(px[0] - mx[0]) / (2 * e), (px[1] - mx[1] + py[0] - my[0]) / (4 * e), (py[1] - my[1]) / (2 * e)];
      return (a + d) / 2 + Math.hypot((a - d) / 2, b);
    };
    return Math.max(1e-3, ...(minima.length ? minima : known().points).map(curvature)) || 1;
  }

  const redraw = fitted(canvas, (width) => Math.min(width, 560), (pen, width, height) => {
    const [[lowX, highX], [lowY, highY]] = known().domain;
    places = { x: scale(lowX, highX, 0, width), y: scale(lowY, highY, height, 0) };
    if (!ground || ground.name !== name() || ground.width !== width) ground = painted(width, height);
    pen.imageSmoothingEnabled = true;
    pen.drawImage(ground.image, 0, 0, width, height);
    const dot = ([x, y], radius, color, edge = "#fff") => {
      pen.beginPath();
      pen.arc(places.x(x), places.y(y), radius, 0, 7);
      pen.fillStyle = color;
      pen.fill();
      pen.strokeStyle = edge;
      pen.lineWidth = 1.5;
      pen.stroke();
    };
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.font = "14px Inter, system-ui, sans-serif";
    known().points.forEach(([x, y], i) => {
      const kind = known().kinds[i];
      if (kind !== "minimum" && known().points.length > 60) return;
      pen.lineWidth = 3;
      pen.strokeStyle = "#fff";
      pen.strokeText(POINTS[kind], places.x(x), places.y(y));
      pen.fillStyle = kind === "minimum" ? "#00543f" : "#1d2530";
      pen.fillText(POINTS[kind], places.x(x), places.y(y));
    });
    const path = found.path;
    pen.lineJoin = "round";
    for (const [color, thick] of [["#ffffff", 4], ["#b3420a", 2]]) {
      pen.strokeStyle = color;
      pen.lineWidth = thick;
      pen.beginPath();
      path.forEach(([x, y], i) => (i ? pen.lineTo(places.x(x), places.y(y)) : pen.moveTo(places.x(x), places.y(y))));
      pen.stroke();
    }
    if (path.length < 80) for (const at of path.slice(1, -1)) dot(at, 3, "#b3420a");
    dot(path[0], 7, "#ffffff", "#1d2530");
    dot(path[path.length - 1], 7, "#b3420a");
  });

  // Returns an image of the plane, colored by the logarithm of the height above the lowest point,
  // with lines between bands.
  function painted(width, height) {
    const [w, h] = [Math.round(width), Math.round(height)];
    const image = element("canvas", { width: w, height: h });
    const pen = image.getContext("2d");
    const pixels = pen.createImageData(w, h);
    const values = new Float64Array(w * h);
    for (let j = 0; j < h; j += 1) for (let i = 0; i < w; i += 1) values[j * w + i] = plane().f(places.x.back(i + 0.5), places.y.back(j + 0.5));
    const [low, high] = extent(values);
    const share = (v) => Math.log1p((300 * (v - low)) / (high - low)) / Math.log(301);
    const band = values.map((v) => Math.floor(share(v) * 22));
    for (let k = 0; k < values.length; k += 1) {
      const edge = (k + 1) % w && (band[k] !== band[k + 1] || (k + w < band.length && band[k] !== band[k + w]));
      const color = rgb(VALLEY, (band[k] + 0.5) / 22);
      pixels.data.set([...color.map((c) => (edge ? c * 0.8 : c)), 255], 4 * k);
    }
    pen.putImageData(pixels, 0, 0);
    return { image, name: name(), width };
  }

  function update() {
    const most = Number(steps.value);
    found = descent(plane(), start, { rate: eta(), momentum: beta(), steps: most });
    const { path, diverged } = found;
    const end = path[path.length - 1];
    const slope = plane().slope(...end);
    const near = known().points.findIndex(([x, y]) => Math.hypot(end[0] - x, end[1] - y) < 1e-3);
    const limit = (2 + 2 * beta()) / sharpest();
    select("rate-told").textContent = number(eta());
    select("momentum-told").textContent = beta() ? String(beta()) : "none";
    select("steps-told").textContent = number(most);
    told.textContent = diverged
      ? `It diverges at step ${diverged}: the rate is too large for the curvature along its path.`
      : `After ${count(path.length - 1, "step")} from (${start.map((v) => number(v)).join(", ")}) it is at (${end.map((v) => number(v, 5)).join(", ")}): ` +
        `cost ${number(plane().f(...end))}, slope ${number(Math.hypot(...slope))}` +
        `${near >= 0 ? `; a ${known().kinds[near] === "degenerate" ? "degenerate point" : known().kinds[near]} of cost ${number(known().points[near][2])} is there` : ""}.`;
    select("limit-told").textContent =
      `The sharpest minimum is stable for rates up to ${number(limit)}${beta() ? " with this momentum" : ""}; above that no descent can converge to it.`;
    chart(select("descent-cost"), {
      x: "step", y: "cost", logY: true, height: 250,
      lines: [{ x: path.map((_, t) => t), y: path.map((at) => plane().f(...at)), color: "#b3420a" }],
    });
    redraw();
  }
  function choose() {
    const sharp = sharpest();
    rate.min = String(Math.log10(0.002 / sharp));
    rate.max = String(Math.log10(6 / sharp));
    rate.step = "any";
    rate.value = String(Math.log10(0.25 / sharp));
    const [[lowX, highX], [lowY, highY]] = known().domain;
    start = [lowX + 0.31 * (highX - lowX), lowY + 0.56 * (highY - lowY)];
    select("formula").textContent = plane().formula;
    select("source").textContent = `Source: ${known().source}.`;
    update();
  }
  let held = false;
  const put = (event) => {
    const [x, y] = within(canvas, event);
    start = [places.x.back(x), places.y.back(y)];
    update();
  };
  canvas.addEventListener("pointerdown", (event) => {
    held = true;
    canvas.setPointerCapture(event.pointerId);
    put(event);
  });
  canvas.addEventListener("pointermove", (event) => held && put(event));
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (held = false));
  canvas.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    event.preventDefault();
    const [[lowX, highX], [lowY, highY]] = known().domain;
    start = [
      Math.min(Math.max(start[0] + (arrow[0] * (highX - lowX)) / 60, lowX), highX),
      Math.min(Math.max(start[1] + (arrow[1] * (highY - lowY)) / 60, lowY), highY),
    ];
    update();
  });
  select("function").addEventListener("change", choose);
  for (const input of [rate, momentum, steps]) input.addEventListener("input", update);
  found = { path: [start], diverged: null };
  choose();
  return { start: () => start, found: () => found };
}
