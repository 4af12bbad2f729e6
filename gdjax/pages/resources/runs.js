// The sweep: a map of any metric over any two axes, the runs of a cell, and their positions.

const NONE = "—";

function sweepOf(data) {
  const shape_ = data.axes.map((axis) => Object.values(axis.values)[0].length);
  const strides = shape_.map((_, i) => shape_.slice(i + 1).reduce((a, b) => a * b, 1));
  const runs = shape_.reduce((a, b) => a * b, 1);
  const records = data.step.length;
  const outcomeOf = (run) => data.outcomes[String(data.outcome[run])] || "not finished";
  const place = (run) => strides.map((stride, i) => Math.floor(run / stride) % shape_[i]);
  const shown = (v) => (typeof v === "string" ? v : number(v, 4));
  const settings = (run) =>
    place(run).flatMap((at, i) => Object.entries(data.axes[i].values).map(([name, values]) => `${words(name)} ${shown(values[at])}`));
  // The command that replays a run; null if its words are not valid in a command.
  const command = (run, store) => {
    const at = place(run).flatMap((index, i) => Object.entries(data.axes[i].values).map(([name, values]) => `${name}=${values[index]}`));
    const all = ["gdjax", "replay", store, "--at", ...at].map(shellWord);
    return all.includes(null) ? null : all.join(" ");
  };
  const labels = (i) => {
    const values = Object.values(data.axes[i].values)[0];
    return Array.from(values, shown);
  };
  const nameOf = (i) => words(Object.keys(data.axes[i].values)[0]);
  const finals = data.metrics.map(({ values }) => {
    const last = new Float32Array(runs);
    for (let run = 0; run < runs; run += 1) last[run] = lastNumber(values.subarray(run * records, (run + 1) * records));
    return last;
  });
  return { ...data, shape: shape_, strides, runs, records, outcomeOf, place, settings, command, labels, nameOf, finals };
}

// The last recorded value, since metrics may be recorded less often than the cost.
function lastNumber(values) {
  for (let i = values.length - 1; i >= 0; i -= 1) if (!Number.isNaN(values[i])) return values[i];
  return NaN;
}

// The inverse of the empirical distribution function, which treats +inf as the largest value.
function quantile(values, share) {
  const sorted = values.filter((v) => !Number.isNaN(v)).sort((a, b) => a - b);
  return sorted.length ? sorted[Math.max(Math.ceil(share * sorted.length), 1) - 1] : NaN;
}
const median = (values) => quantile(values, 0.5);

// Median and quartiles at each recorded step over the runs of one setting.
function bandOf(values, records, runs) {
  const at = (share) => Array.from({ length: records }, (_, r) => quantile(runs.map((run) => values[run * records + r]), share));
  return { low: at(0.25), middle: at(0.5), high: at(0.75) };
}

// A word of a shell command; null if a terminal could interpret it even in quotes.
function shellWord(text) {
  if (/[\u0000-\u001f\u007f-\u009f]/.test(text)) return null;
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

// A field of a table; a spreadsheet interprets text that begins with one of =+-@ as a formula.
function csvField(value) {
  const text = typeof value === "string" ? value.replace(/^[=+\-@\t\r]/, "'$&") : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function mostCommon(texts) {
  const counts = new Map();
  for (const text of texts) counts.set(text, (counts.get(text) || 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0][0];
}

const MAX_SETTINGS = 12; // maximum number of settings with medians
const MAX_CURVES = 60; // maximum number of curves of selected runs

function save(name, blob) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  URL.revokeObjectURL(link.href);
}

function exploreRuns(root, data, store) {
  const sweep = sweepOf(data);
  const { axes, metrics, step, records, strides } = sweep;
  const select = (id) => root.querySelector(`#${id}`);
  const told = select("runs-told");
  const accuracy = metrics.findIndex((m) => m.share);
  const state = { metric: accuracy >= 0 ? accuracy : 0, x: 0, y: sweep.shape.length > 1 ? 1 : -1, fixed: axes.map(() => -1), at: records - 1 };
  let chosen = new Set();
  let chosenWords = "";
  let brushed = null; // run -> whether it is in the brushed range
  let cells = null;
  const present = new Set(Array.from({ length: sweep.runs }, (_, run) => sweep.outcomeOf(run)));

  // Assigns runs to the cells of the map, for the values of the sliders.
  function arrange() {
    const [nx, ny] = [state.x, state.y].map((i) => (i < 0 ? 1 : sweep.shape[i]));
    cells = Array.from({ length: nx * ny }, () => []);
    for (let run = 0; run < sweep.runs; run += 1) {
      let fits = true;
      for (let i = 0; i < axes.length && fits; i += 1) {
        if (i === state.x || i === state.y || state.fixed[i] < 0) continue;
        fits = Math.floor(run / strides[i]) % sweep.shape[i] === state.fixed[i];
      }
      if (!fits) continue;
      const index = (i) => (i < 0 ? 0 : Math.floor(run / strides[i]) % sweep.shape[i]);
      cells[index(state.x) * ny + index(state.y)].push(run);
    }
    const outcomes = state.metric === metrics.length;
    const values = outcomes ? cells.map(() => NaN) : cells.map((runs) => median(runs.map((run) => valueOf(run))));
    const [lowest, high] = extent(values);
    // A zero has no logarithm, and the color of the smallest positive value.
    const low = lowest === 0 && high > 0 ? extent(values.filter((v) => v > 0))[0] : lowest;
    const log = !outcomes && !metrics[state.metric].share && low > 0 && high > 8 * low;
    return { nx, ny, values, outcomes, low, high, log, ends: cells.map((runs) => mostCommon(runs.map(sweep.outcomeOf))) };
  }
  function valueOf(run) {
    const { values } = metrics[state.metric];
    const row = values.subarray(run * records, run * records + state.at + 1);
    return state.at === records - 1 ? lastNumber(row) : row[state.at];
  }
  let view = arrange();

  const look = () => {
    const { nx, ny, values, outcomes, low, high, log, ends } = view;
    const at = (i, j) => i * ny + j;
    const place = scale(low, high, 0, 1, log);
    const share = (v) => place(log ? Math.max(v, low) : v);
    const flip = !outcomes && !metrics[state.metric].share; // bright cells are good: low costs, high accuracies
    return {
      columns: state.x < 0 ? [""] : sweep.labels(state.x),
      rows: state.y < 0 ? [""] : sweep.labels(state.y),
      nameX: state.x < 0 ? "" : sweep.nameOf(state.x),
      nameY: state.y < 0 ? "" : sweep.nameOf(state.y),
      color: (i, j) => {
        if (outcomes) return rgb([OUTCOME_COLORS[ends[at(i, j)]] || "#888888", OUTCOME_COLORS[ends[at(i, j)]] || "#888888"], 0);
        const s = low === high ? 0.5 : share(values[at(i, j)]);
        return rgb(VIRIDIS, flip ? 1 - s : s);
      },
      mark: (i, j) => MARKS[ends[at(i, j)]] || "",
      bold: (i, j) => {
        const runs = cells[at(i, j)];
        if (runs.some((run) => chosen.has(run))) return "chosen";
        return brushed && runs.some(brushed) ? "brushed" : "";
      },
      hint: (i, j) => hint(cells[at(i, j)], outcomes ? null : values[at(i, j)]),
    };
  };
  function hint(runs, value) {
    const lines = runs.length === 1 ? sweep.settings(runs[0]) : common(runs);
    if (value !== null) {
      const { share } = metrics[state.metric];
      const text = share && Number.isFinite(value) ? percent(value) : number(value);
      lines.push(`${metrics[state.metric].label}${runs.length > 1 ? `, median of ${number(runs.length)} runs` : ""}: ${text}`);
    }
    lines.push(endsInWords(runs));
    return lines.join("\n");
  }
  function common(runs) {
    const places = runs.map(sweep.place);
    return axes.flatMap((axis, i) =>
      places.every((p) => p[i] === places[0][i]) ? [`${sweep.nameOf(i)} ${sweep.labels(i)[places[0][i]]}`] : [],
    );
  }
  function endsInWords(runs) {
    const counts = new Map();
    for (const run of runs) counts.set(sweep.outcomeOf(run), (counts.get(sweep.outcomeOf(run)) || 0) + 1);
    return [...counts].map(([name, n]) => (runs.length === 1 ? name : `${number(n)} ${name}`)).join(", ");
  }

  const drawMap = cellMap(select("map"), look, (i, j, more) => {
    const runs = cells[i * view.ny + j];
    chosen = new Set(more ? [...chosen, ...runs] : runs);
    chosenWords = `${common([...chosen]).join(", ") || count(chosen.size, "run")}: ${endsInWords([...chosen])}`;
    drawChosen();
    showCommand();
  }, (text) => (select("cell-told").textContent = `${text.replaceAll("\n", "; ")}.`));

  // Shows the command for the selected run; of several runs, for the one with the median value or,
  // on a map of outcomes, for the first with the most common outcome.
  function showCommand() {
    const runs = [...chosen];
    const valueShown = view.outcomes ? sweep.outcomeOf : valueOf;
    const middle = runs.length ? (view.outcomes ? mostCommon : median)(runs.map(valueShown)) : null;
    const run = runs.find((one) => Object.is(valueShown(one), middle)) ?? runs[0];
    const text = run === undefined ? null : sweep.command(run, store);
    select("command").textContent = text ?? "";
    select("command-field").hidden = text === null;
    select("command-told").textContent = runs.length > 1 ? `It replays ${view.outcomes ? "a run with the most common outcome" : "the run with the median value"}.` : "";
  }
  select("copy").addEventListener("click", async () => {
    const text = select("command");
    try {
      await navigator.clipboard.writeText(text.textContent);
      select("command-told").textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(text);
      select("command-told").textContent = "Selected: copy it with Ctrl+C.";
    }
  });
  select("save-png").addEventListener("click", () => {
    const [map, colors] = [select("map"), select("bar")];
    const dense = map.width / map.clientWidth;
    const bar = view.outcomes ? 0 : colors.height;
    const picture = element("canvas", { width: map.width, height: map.height + bar + Math.round(40 * dense) });
    const pen = picture.getContext("2d");
    pen.fillStyle = "#ffffff";
    pen.fillRect(0, 0, picture.width, picture.height);
    pen.fillStyle = "#1d2530";
    pen.font = `${13 * dense}px Inter, system-ui, sans-serif`;
    pen.fillText(select("map-caption").textContent, 12 * dense, 24 * dense, picture.width - 24 * dense);
    pen.drawImage(map, 0, 40 * dense);
    if (bar) pen.drawImage(colors, 72 * dense, 40 * dense + map.height);
    picture.toBlob((blob) => save("map.png", blob), "image/png");
  });
  select("save-csv").addEventListener("click", () => save("runs.csv", new Blob([csv()], { type: "text/csv" })));
  // One row per run: its settings, its metrics at the chosen step, its outcome.
  function csv() {
    const columns = axes.flatMap((axis, i) => Object.entries(axis.values).map(([name, values]) => [name, (run) => values[sweep.place(run)[i]]]));
    columns.push(["step", () => step[state.at]]);
    metrics.forEach((m, k) => columns.push([m.name, (run) => m.values[run * records + state.at]]));
    columns.push(["outcome", sweep.outcomeOf]);
    const rows = Array.from({ length: sweep.runs }, (_, run) => columns.map(([, value]) => csvField(value(run))));
    return [columns.map(([name]) => csvField(name)), ...rows].map((row) => `${row.join(",")}\r\n`).join("");
  }
  const bar = colorBar(select("bar"), VIRIDIS, () => {
    const { low, high, log } = view;
    const flip = !metrics[state.metric]?.share;
    const texts = [0, 0.5, 1].map((s) => scale(0, 1, 0, 1)(s)).map((s) => scale(low, high, 0, 1, log).back(flip ? 1 - s : s));
    return texts.map((v) => (metrics[state.metric]?.share ? percent(v) : number(v)));
  });

  function drawMapAnew() {
    view = arrange();
    select("bar").hidden = view.outcomes;
    drawMap();
    bar();
    const runsOfCell = cells[0].length;
    const when = state.at === records - 1 ? "at the end" : `at step ${number(step[state.at])}`;
    const many = `, median of ${number(runsOfCell)} runs a cell`;
    select("map-caption").textContent = view.outcomes
      ? `How runs ended${runsOfCell > 1 ? `: the most common outcome of the ${number(runsOfCell)} runs of a cell` : ""}.`
      : `${metrics[state.metric].label} ${when}${runsOfCell > 1 ? many : ""}. Marks: how most of them ended.`;
    // On a map of outcomes the key has its colors; on other maps its marks.
    select("marks").replaceChildren(...[...present].map((name) => {
      if (!view.outcomes) return element("span", {}, MARKS[name] ? `${MARKS[name]} ${name}` : `no mark: ${name}`);
      const dot = element("i");
      dot.style.background = OUTCOME_COLORS[name] ?? "#888888";
      return element("span", {}, dot, MARKS[name] ? `${MARKS[name]} ${name}` : name);
    }));
    select("cell-told").textContent = "";
    showCommand();
    if (select("curves").value === "settings") drawSettings();
  }

  const behind = Array.from({ length: Math.min(sweep.runs, 200) }, (_, i) => Math.floor((i * sweep.runs) / Math.min(sweep.runs, 200)));
  const curve = (metric, run, color) => {
    const [x, y] = [[], []];
    for (let r = 0; r < records; r += 1) {
      const v = metrics[metric].values[run * records + r];
      if (!Number.isNaN(v)) x.push(step[r]) && y.push(v);
    }
    return { x, y, color };
  };
  const drawn = [metrics.findIndex((m) => m.name === "cost"), accuracy].filter((m) => m >= 0);
  // One line per value of the horizontal axis: the median of its runs, between their quartiles.
  function drawSettings() {
    const values = sweep.labels(state.x);
    const shown = Array.from({ length: Math.min(values.length, MAX_SETTINGS) }, (_, k) =>
      Math.round((k * (values.length - 1)) / Math.max(Math.min(values.length, MAX_SETTINGS) - 1, 1)));
    const colors = shown.map((_, k) => css(rgb(VIRIDIS, (0.9 * k) / Math.max(shown.length - 1, 1))));
    for (const metric of drawn) {
      const bands = shown.map((i) => bandOf(metrics[metric].values, records, cells.slice(i * view.ny, (i + 1) * view.ny).flat()));
      const x = Array.from(step);
      chart(select(metric === accuracy ? "curve-accuracy" : "curve-cost"), {
        x: "step", y: metrics[metric].label, logY: !metrics[metric].share, share: metrics[metric].share, height: 232,
        lines: bands.map(({ middle }, k) => ({ x, y: middle, color: colors[k] })),
        bands: bands.map(({ low, high }, k) => ({ x, low, high, color: colors[k] })),
        mark: null,
      });
    }
    select("curve-key").replaceChildren(
      ...shown.map((i, k) => {
        const dot = element("i");
        dot.style.background = colors[k];
        return element("span", {}, dot, `${sweep.nameOf(state.x)} ${values[i]}`);
      }),
    );
    const left = shown.length < values.length ? ` ${shown.length} of ${number(values.length)} values are drawn, evenly spaced.` : "";
    select("curve-told").textContent = `Lines: median of the runs of each ${sweep.nameOf(state.x)}. Bands: from the lower to the upper quartile; a band ends where its upper quartile is infinite.${left}`;
  }
  function drawCurves() {
    const medians = select("curves").value === "settings";
    select("curve-key").hidden = !medians;
    if (medians) drawSettings();
    else drawRuns();
  }
  function drawRuns() {
    const some = [...chosen].slice(0, MAX_CURVES);
    for (const metric of drawn) {
      const svg = select(metric === accuracy ? "curve-accuracy" : "curve-cost");
      chart(svg, {
        x: "step", y: metrics[metric].label, logY: !metrics[metric].share, share: metrics[metric].share, height: 232,
        lines: some.map((run, i) => curve(metric, run, ["#b3420a", "#d97a45", "#8a3207", "#e09b6d"][i % 4])).filter((l) => l.x.length),
        behind: behind.map((run) => curve(metric, run)).filter((l) => l.x.length),
        mark: null,
      });
    }
    select("curve-told").textContent =
      `Orange: the runs of the cell. Gray: ${behind.length < sweep.runs ? `${behind.length} of ${number(sweep.runs)} runs, evenly spaced` : "all runs"}.`;
  }
  function drawChosen() {
    drawCurves();
    const hidden = chosen.size > MAX_CURVES ? ` The first ${MAX_CURVES} of them are drawn.` : "";
    told.textContent = (chosen.size ? `${chosenWords}.${hidden}` : "Click a cell to see its runs; shift adds cells.") + brushWords();
    drawMap();
    for (const one of strips) one.redraw();
  }
  function brushWords() {
    if (!brushed) return "";
    let n = 0;
    for (let run = 0; run < sweep.runs; run += 1) n += brushed(run) ? 1 : 0;
    return ` ${number(n)} of ${count(sweep.runs, "run")} are in the brushed range.`;
  }
  const status = (run) => (chosen.has(run) ? "chosen" : brushed && brushed(run) ? "brushed" : "");
  const strips = metrics.map((metric, m) => {
    const canvas = element("canvas", { className: "drag", tabIndex: 0 });
    canvas.setAttribute("role", "application");
    select("strips").append(element("figure", {}, element("figcaption", { textContent: `${metric.label}, at the end` }), canvas));
    return strip(canvas, metric.label, sweep.finals[m], metric.share, status, (inside) => {
      if (inside) strips.forEach((other, k) => k !== m && other.clear());
      brushed = inside && ((run) => inside(sweep.finals[m][run]));
      drawChosen();
    });
  });

  // The menus above the map.
  metrics.forEach((m, i) => select("metric").append(option(i, m.label)));
  select("metric").append(option(metrics.length, "outcome"));
  const axisOptions = (box, none) => {
    axes.forEach((_, i) => box.append(option(i, sweep.nameOf(i))));
    if (none) box.append(option(-1, NONE));
  };
  axisOptions(select("axis-x"), !axes.length);
  axisOptions(select("axis-y"), true);
  select("curves").append(option("runs", "the runs of the cell"));
  if (axes.length) select("curves").append(option("settings", ""));
  select("curves").addEventListener("change", drawCurves);
  const showState = () => {
    if (axes.length) {
      select("curves").options[1].disabled = state.x < 0;
      select("curves").options[1].textContent = `median and quartiles per ${state.x < 0 ? NONE : sweep.nameOf(state.x)}`;
    }
    if (state.x < 0) select("curves").value = "runs";
    select("metric").value = String(state.metric);
    select("axis-x").value = String(state.x);
    select("axis-y").value = String(state.y);
    const others = axes.map((_, i) => i).filter((i) => i !== state.x && i !== state.y);
    select("others").replaceChildren(
      ...others.map((i) => {
        const out = element("strong");
        const range = element("input", { type: "range", min: "-1", max: String(sweep.shape[i] - 1), step: "1", value: String(state.fixed[i]) });
        const tell = () => (out.textContent = state.fixed[i] < 0 ? "all" : sweep.labels(i)[state.fixed[i]]);
        range.addEventListener("input", () => {
          state.fixed[i] = Number(range.value);
          tell();
          drawMapAnew();
        });
        tell();
        return element("label", { className: "field wide" }, element("span", {}, `${sweep.nameOf(i)} `, out), range);
      }),
    );
    drawMapAnew();
  };
  if (!axes.length) state.x = -1;
  select("metric").addEventListener("change", (event) => {
    state.metric = Number(event.target.value);
    drawMapAnew();
  });
  for (const [id, mine, other] of [["axis-x", "x", "y"], ["axis-y", "y", "x"]]) {
    select(id).addEventListener("change", (event) => {
      const next = Number(event.target.value);
      if (next >= 0 && next === state[other]) state[other] = state[mine];
      state[mine] = next;
      showState();
    });
  }
  const time = select("time");
  time.max = String(records - 1);
  time.value = time.max;
  const tellTime = () => (select("time-told").textContent = number(step[state.at]));
  time.addEventListener("input", () => {
    state.at = Number(time.value);
    tellTime();
    drawMapAnew();
  });
  tellTime();
  if (accuracy < 0) select("curve-accuracy").remove();
  select("thinned").textContent = sweep.told.join(" ");
  select("thinned").hidden = !sweep.told.length;
  showState();
  drawChosen();
  return sweep;
}
