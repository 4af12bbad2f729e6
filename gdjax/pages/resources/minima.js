// Minima on the map of their distances; clicking two of them shows the barrier between them.

function exploreMinima(root, census) {
  const select = (id) => root.querySelector(`#${id}`);
  const n = census.cost.length;
  const compared = census.position ? census.position.shape[0] : 0;
  const [low, high] = extent(census.cost);
  const color = (i) => rgb(VALLEY, high > low ? ((census.cost[i] - low) / (high - low)) * 0.8 : 0.3);
  let two = [];
  let cursor = 0;
  let focused = false;
  let places = [];
  select("minima-lead").textContent =
    `${count(n, "minim").replace(/minims?$/, n === 1 ? "minimum" : "minima")} of ${count(census.ended, "run")}. ` +
    (compared > 1
      ? `Distances on the map approximate the distances between minima (the map represents ${census.shown === null ? "an unknown share" : percent(census.shown)} of them); area: share of runs.` +
        (compared < n ? ` On the map: the ${compared} lowest.` : "")
      : "A map needs two or more.");

  const [xs, ys] = [0, 1].map((k) => Array.from({ length: compared }, (_, i) => census.position[2 * i + k]));
  const redraw = compared < 2 ? () => {} : fitted(select("minima-map"), (width) => Math.min(440, Math.max(280, width * 0.7)), (pen, width, height) => {
    const [lowX, highX] = extent(xs);
    const [lowY, highY] = extent(ys);
    const unit = Math.min((width - 110) / (highX - lowX || 1), (height - 90) / (highY - lowY || 1));
    places = xs.map((x, i) => [width / 2 + unit * (x - (lowX + highX) / 2), height / 2 - unit * (ys[i] - (lowY + highY) / 2)]);
    if (two.length === 2) {
      pen.strokeStyle = "#b3420a";
      pen.lineWidth = 2.5;
      pen.beginPath();
      pen.moveTo(...places[two[0]]);
      pen.lineTo(...places[two[1]]);
      pen.stroke();
    }
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    for (let i = compared - 1; i >= 0; i -= 1) {
      const radius = 8 + 26 * Math.sqrt(census.share[i]);
      pen.beginPath();
      pen.arc(...places[i], radius, 0, 7);
      pen.fillStyle = css(color(i));
      pen.fill();
      pen.strokeStyle = two.includes(i) ? "#b3420a" : focused && i === cursor ? "#e08a00" : "#1d2530";
      pen.lineWidth = two.includes(i) || (focused && i === cursor) ? 4 : 1;
      pen.stroke();
      pen.fillStyle = bright(color(i)) ? "#1d2530" : "#ffffff";
      pen.font = "600 12px Inter, system-ui, sans-serif";
      pen.fillText(String(i), ...places[i]);
    }
  });

  const pair = (matrix) => (matrix ? matrix[two[0] * compared + two[1]] : NaN);
  const pairs = [];
  for (let i = 0; i < compared; i += 1) for (let j = i + 1; j < compared; j += 1) pairs.push([i, j]);
  const chosenPair = (p) => two.length === 2 && pairs[p].includes(two[0]) && pairs[p].includes(two[1]);
  const strips = [
    ["barrier", "barrier on the straight line, of all pairs"],
    ["matched_barrier", "after matching, of all pairs"],
  ].flatMap(([name, text]) => {
    if (!census[name] || !pairs.length || (name === "matched_barrier" && !census.matched)) return [];
    const canvas = element("canvas", { className: "drag", tabIndex: 0 });
    canvas.setAttribute("role", "application");
    select("barriers").append(element("figure", {}, element("figcaption", { textContent: text }), canvas));
    const values = Float64Array.from(pairs, ([i, j]) => census[name][i * compared + j]);
    const drawn = strip(canvas, text, values, false, () => Uint8Array.from(pairs, (_, p) => (chosenPair(p) ? 2 : 0)), () => drawn.redraw());
    return drawn;
  });
  function pick(i) {
    two = two.includes(i) ? two.filter((k) => k !== i) : [...two.slice(-1), i];
    select("minima-told").textContent =
      two.length < 2
        ? two.length ? `Minimum ${two[0]} of cost ${number(census.cost[two[0]])}. Click another minimum.` : "Click two minima."
        : `Between minimum ${two[0]} (cost ${number(census.cost[two[0]])}) and ${two[1]} (cost ${number(census.cost[two[1]])}): ` +
          `on the straight line the cost rises by ${number(pair(census.barrier))}` +
          (census.matched ? `, after matching by ${number(pair(census.matched_barrier))}` : "") +
          `. Their distance is ${number(pair(census.distance))}${census.matched ? `, after matching ${number(pair(census.matched_distance))}` : ""}.`;
    for (const button of root.querySelectorAll("tbody button")) button.setAttribute("aria-pressed", String(two.includes(Number(button.value))));
    redraw();
    for (const one of strips) one.redraw();
  }
  const map = select("minima-map");
  const nearestTo = (event) => {
    const [x, y] = within(map, event);
    const away = places.map(([px, py]) => Math.hypot(px - x, py - y));
    const best = away.indexOf(Math.min(...away));
    return away[best] < 36 ? best : null;
  };
  map.hidden = compared < 2;
  map.addEventListener("click", (event) => {
    const i = nearestTo(event);
    if (i !== null) pick(i);
  });
  map.addEventListener("pointermove", (event) => {
    const i = nearestTo(event);
    tip(i === null ? null : `minimum ${i}\ncost ${number(census.cost[i])}\n${count(census.runs[i], "run")}`, event);
  });
  map.addEventListener("pointerleave", (event) => tip(null, event));
  map.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (arrow) cursor = (cursor + (arrow[0] || arrow[1]) + compared) % compared;
    else if (event.key === "Enter" || event.key === " ") pick(cursor);
    else return;
    event.preventDefault();
    focused = true;
    redraw();
  });
  map.addEventListener("blur", () => {
    focused = false;
    redraw();
  });
  const rows = Math.min(n, 64);
  const columns = ["runs", "cost", "sharpness", "accuracy"].filter((name) => census[name]);
  select("minima-head").replaceChildren(
    element("th", { textContent: "minimum" }),
    ...columns.map((name) => element("th", { className: "number", textContent: name === "accuracy" ? "test digits read" : name })),
  );
  select("minima-rows").replaceChildren(
    ...Array.from({ length: rows }, (_, i) => {
      const button = element("button", { type: "button", value: String(i), textContent: String(i), disabled: i >= compared });
      button.setAttribute("aria-pressed", "false");
      button.setAttribute("aria-label", `minimum ${i}`);
      button.addEventListener("click", () => pick(i));
      return element(
        "tr",
        {},
        element("td", {}, button),
        ...columns.map((name) => element("td", { className: "number", textContent: name === "accuracy" ? percent(census[name][i]) : number(census[name][i], 5) })),
      );
    }),
  );
  if (n > rows) select("minima-lead").append(` The table has the ${rows} lowest.`);
}
