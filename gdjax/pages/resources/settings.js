// Settings with their seeds collapsed: a table that can be sorted, and two settings compared.

const MAX_ROWS = 100; // number of rows that are shown at first

// `show(s)` selects the runs of a setting; `compare(pair)` receives the compared settings.
function settingsTable(root, sweep, state, show, compare) {
  const select = (id) => root.querySelector(`#${id}`);
  let sort = { column: "median", down: false };
  let rows = [];
  let limit = MAX_ROWS;
  const columns = [
    ...sweep.own.flatMap((i) => Object.keys(sweep.axes[i].values).map((name) => ({ key: `axis ${i} ${name}`, name: words(name), axis: [i, name] }))),
    { key: "median", name: "median", numeric: true },
    { key: "low", name: "95 % interval", numeric: true },
    { key: "n", name: "seeds", numeric: true },
    { key: "diverged", name: "diverged", numeric: true },
    { key: "verdict", name: "against the best" },
  ];
  const valueOf = (row, { key, axis }) => (axis ? sweep.axes[axis[0]].values[axis[1]][sweep.indexOf(sweep.members[row.s][0], axis[0])] : row[key]);
  const shown = (metric, v) => (!metric.share ? number(v, 4) : Number.isFinite(v) ? percent(v) : v < 0 ? "diverged" : number(v));

  function verdictOf(found, s) {
    if (!found || found.note) return NONE;
    if (s === found.best) return "best median";
    return found.tied[s] ? "not shown to be worse" : "worse";
  }
  function fill() {
    const metric = Math.min(state.metric, sweep.metrics.length - 1);
    const found = sweep.verdicts[metric];
    rows = sweep.members.map((list, s) => ({ s, ...sweep.summary(metric, list, state.at), verdict: verdictOf(found, s) }));
    const { label, share } = sweep.metrics[metric];
    const when = state.at === sweep.last ? "at the end" : `at step ${number(sweep.step[state.at])}`;
    const best = share ? "highest" : "lowest";
    const rule = found?.note ?? "“Worse” and “not shown to be worse” compare the ends of runs by pairs of equal seeds, corrected for all pairs (Wilcoxon, Holm; as gd.compare, at 5 %).";
    select("settings-told").textContent =
      `${count(sweep.numSettings, "setting")}, over ${count(sweep.numUnits, "seed")} each: ${label} ${when}, ${best} is best. ${rule}`;
    draw();
  }
  function order(a, b) {
    const column = columns.find(({ key }) => key === sort.column);
    const [u, v] = [valueOf(a, column), valueOf(b, column)];
    const best = column.axis || !["median", "low"].includes(column.key) ? 1 : sweep.signOf(Math.min(state.metric, sweep.metrics.length - 1));
    const turn = sort.down ? -best : best; // the best is first
    if (typeof u === "string") return turn * u.localeCompare(v) || a.s - b.s;
    if (Number.isNaN(u) || Number.isNaN(v)) return Number.isNaN(u) - Number.isNaN(v);
    return u === v ? a.s - b.s : turn * (u < v ? -1 : 1);
  }
  function draw() {
    const metric = sweep.metrics[Math.min(state.metric, sweep.metrics.length - 1)];
    select("settings-head").replaceChildren(
      ...columns.map(({ key, name, numeric }) => {
        const button = element("button", { type: "button", textContent: name });
        button.addEventListener("click", () => {
          sort = { column: key, down: sort.column === key && !sort.down };
          draw();
          select("settings-head").querySelectorAll("button")[columns.findIndex((c) => c.key === key)].focus();
        });
        const head = element("th", { scope: "col", className: numeric ? "number" : "" }, button);
        if (sort.column === key) head.setAttribute("aria-sort", sort.down ? "descending" : "ascending");
        return head;
      }),
      element("th", { scope: "col", textContent: "runs" }),
    );
    const ordered = rows.toSorted(order);
    select("settings-rows").replaceChildren(...ordered.slice(0, limit).map((row) => rowOf(row, metric)));
    select("settings-more").hidden = rows.length <= limit;
    select("settings-more").textContent = `Show more: ${number(Math.min(limit, rows.length))} of ${number(rows.length)} are shown`;
  }
  function rowOf(row, metric) {
    const texts = new Map(sweep.settingTexts(row.s));
    const interval = Number.isFinite(row.low) || Number.isFinite(row.high) ? `${shown(metric, row.low)} to ${shown(metric, row.high)}` : NONE;
    const cells = { median: shown(metric, row.median), low: interval, n: number(row.n), diverged: row.diverged ? percent(row.diverged) : "0", verdict: row.verdict };
    const name = sweep.settingName(row.s);
    const open = element("button", { type: "button", textContent: "show", ariaLabel: `Show the runs with ${name}` });
    open.addEventListener("click", () => show(row.s));
    const both = element("button", { type: "button", textContent: "compare", ariaLabel: `Compare ${name}` });
    both.setAttribute("aria-pressed", String(state.pair.includes(row.s)));
    both.addEventListener("click", () => {
      state.pair = state.pair.includes(row.s) ? state.pair.filter((s) => s !== row.s) : [...state.pair, row.s].slice(-2);
      for (const each of select("settings-rows").querySelectorAll("[data-setting]")) {
        each.setAttribute("aria-pressed", String(state.pair.includes(Number(each.dataset.setting))));
      }
      compare();
    });
    both.dataset.setting = String(row.s);
    return element(
      "tr", {},
      ...columns.map(({ key, axis, numeric }) => element("td", { className: numeric ? "number" : "", textContent: axis ? texts.get(axis[1]) : cells[key] })),
      element("td", { className: "actions" }, open, both),
    );
  }
  select("settings-more").addEventListener("click", () => {
    limit *= 4;
    draw();
  });
  return { fill, draw };
}

// Two settings: their curves with quartiles, and the differences of equal seeds with their interval.
function comparePair(root, sweep, state) {
  const select = (id) => root.querySelector(`#${id}`);
  const [a, b] = state.pair;
  select("pair").hidden = state.pair.length < 2;
  if (state.pair.length < 2) return;
  const m = Math.min(state.metric, sweep.metrics.length - 1);
  const metric = sweep.metrics[m];
  const x = Array.from(sweep.step);
  const colors = ["#0b5d94", "#b3420a"];
  const bands = [a, b].map((s) => bandOf(metric.values, sweep.records, sweep.members[s]));
  chart(select("pair-curves"), {
    x: "step", y: metric.label, logY: !metric.share, share: metric.share, height: 232,
    lines: bands.map(({ middle }, k) => ({ x, y: middle, color: colors[k] })),
    bands: bands.map(({ low, high }, k) => ({ x, low, high, color: colors[k] })),
    mark: null,
  });
  select("pair-key").replaceChildren(...[a, b].map((s, k) => {
    const dot = element("i");
    dot.style.background = colors[k];
    return element("span", {}, dot, sweep.settingName(s));
  }));
  const { d, n, estimate, low, high } = sweep.paired(m, sweep.members[a], sweep.members[b], state.at);
  const better = d.filter((v) => sweep.signOf(m) * v < 0).length;
  const ends = Number.isFinite(low) || Number.isFinite(high)
    ? `the 95 % interval is ${number(low)} to ${number(high)}${low > 0 || high < 0 ? "" : ", which contains 0"}`
    : `too few seeds for a 95 % interval`;
  select("pair-told").textContent =
    `First − second, by pairs of equal seeds: ${metric.label} differs by ${number(estimate)}; ${ends}. The first is better with ${number(better)} of ${count(n, "seed")}. ` +
    "The interval holds for this pair alone: of many pairs that are looked at, some exclude 0 by chance.";
  drawDifferences(select("pair-differences"), d, { estimate, low, high }, colors);
}

// Differences of pairs as dots, with the interval as a bar and a line at 0.
function drawDifferences(svg, d, { estimate, low, high }, colors) {
  const width = Math.max(svg.clientWidth || 520, 300);
  const height = 96;
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "Differences of paired seeds");
  svg.classList.add("chart");
  const [least, most] = extent([...d, low, high, 0]);
  const place = scale(least, most, 20, width - 20);
  const at = (v) => (v === Infinity ? width - 6 : v === -Infinity ? 6 : place(v));
  svg.append(shape("line", { x1: at(0), x2: at(0), y1: 4, y2: 66, stroke: "#868d98", "stroke-dasharray": "4 3" }));
  svg.append(shape("line", { x1: at(low), x2: at(high), y1: 54, y2: 54, stroke: "#1d2530", "stroke-width": 3 }));
  svg.append(shape("circle", { cx: at(estimate), cy: 54, r: 5, fill: "#1d2530" }));
  d.forEach((v, i) => Number.isNaN(v) || svg.append(shape("circle", { cx: at(v), cy: 14 + ((i * 37) % 28), r: 3.5, fill: colors[0], opacity: 0.7 })));
  for (const t of ticks(least, most, false, 5)) svg.append(shape("text", { x: at(t), y: 82, "text-anchor": "middle" }, number(t)));
}

// What explains the ranks of the final cost, and divergence: a table of shares.
function importanceTable(root, sweep) {
  const body = root.querySelector("#importance-rows");
  root.querySelector("#importance").hidden = !sweep.importance.length;
  const text = (v) => {
    if (!v) return NONE;
    const [value, low, high] = v;
    return low === null || high === null ? percent(value) : `${percent(value)} (${percent(low)} to ${percent(high)})`;
  };
  body.replaceChildren(...sweep.importance.map(({ axes, rank, diverged }) =>
    element("tr", {}, element("td", { textContent: axes }),
      element("td", { className: "number", textContent: text(rank) }), element("td", { className: "number", textContent: text(diverged) }))));
}
