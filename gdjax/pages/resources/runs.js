// The sweep: a map of any metric over any two axes, the runs of a cell, and what is selected.

const NONE = "—";
const MAX_LINES = 12; // maximum number of settings with medians
const MAX_CURVES = 60; // maximum number of curves of selected runs
const MAX_PAIRS = 4e6; // maximum number of pairs of seeds of all cells of a map of differences

function exploreRuns(root, data) {
  const sweep = sweepOf(data);
  const { axes, metrics, step, records, strides, last, outcomeOf } = sweep;
  const select = (id) => root.querySelector(`#${id}`);
  const told = select("runs-told");
  const accuracy = metrics.findIndex((m) => m.share);
  const state = { metric: accuracy >= 0 ? accuracy : 0, x: 0, y: sweep.shape.length > 1 ? 1 : -1, fixed: axes.map(() => -1), at: last, pair: [], differences: false };
  let chosen = new Set();
  let chosenWords = "";
  const status = new Uint8Array(sweep.runs); // 0, 1 for brushed, 2 for chosen, 3 for hidden runs
  const hidden = new Uint8Array(sweep.runs);
  const ranges = new Map(); // brushed ranges: their source, and a function of a run
  let numBrushed = 0;
  const present = new Set(Array.from({ length: sweep.runs }, (_, run) => outcomeOf(run)));

  // The cells of the map for the values of the sliders: lists of runs, and how most of them ended.
  let cells = [];
  let ends = [];
  function arrange() {
    const [nx, ny] = [state.x, state.y].map((i) => (i < 0 ? 1 : sweep.shape[i]));
    cells = Array.from({ length: nx * ny }, () => []);
    const fixed = axes.map((_, i) => i).filter((i) => i !== state.x && i !== state.y && state.fixed[i] >= 0);
    for (let run = 0; run < sweep.runs; run += 1) {
      if (hidden[run] || fixed.some((i) => sweep.indexOf(run, i) !== state.fixed[i])) continue;
      const index = (i) => (i < 0 ? 0 : Math.floor(run / strides[i]) % sweep.shape[i]);
      cells[index(state.x) * ny + index(state.y)].push(run);
    }
    ends = cells.map((runs) => (runs.length ? mostCommon(runs.map(outcomeOf)) : ""));
  }
  const valueOf = (run) => sweep.valueAt(state.metric, run, state.at);
  // The numbers of the cells, and the range of their colors.
  function measured() {
    const [nx, ny] = [state.x, state.y].map((i) => (i < 0 ? 1 : sweep.shape[i]));
    const outcomes = state.metric === metrics.length;
    const differences = !outcomes && state.differences && state.pair.length > 0;
    const pairs = cells.length * (sweep.numUnits * (sweep.numUnits + 1)) / 2;
    const reference = differences ? sweep.members[state.pair[0]] : null;
    const compared = differences && pairs <= MAX_PAIRS ? cells.map((runs) => sweep.paired(state.metric, runs, reference, state.at)) : null;
    const values = outcomes ? cells.map(() => NaN) : compared ? compared.map(({ estimate }) => estimate) : cells.map((runs) => median(runs.map(valueOf)));
    const [lowest, high] = extent(values);
    // A zero has no logarithm, and the color of the smallest positive value.
    const low = lowest === 0 && high > 0 ? extent(values.filter((v) => v > 0))[0] : lowest;
    const log = !outcomes && !compared && !metrics[state.metric].share && low > 0 && high > 8 * low;
    return { nx, ny, values, outcomes, compared, low, high, log, anyFinite: values.some(Number.isFinite), anyGray: values.some((v) => !Number.isFinite(v)) };
  }
  arrange();
  let view = measured();

  // Bright cells are good: low costs, high accuracies. Differences are blue where they are better.
  function colorOf(share) {
    if (view.compared) return rgb(SIGNED, metrics[state.metric].share ? 1 - share : share);
    return rgb(VIRIDIS, metrics[state.metric]?.share ? share : 1 - share);
  }
  let mapLeft = 72;
  const look = () => {
    const { ny, values, outcomes, compared, low, high, log } = view;
    const at = (i, j) => i * ny + j;
    const most = Math.max(Math.abs(low), Math.abs(high));
    const place = compared ? scale(-most, most, 0, 1) : scale(low, high, 0, 1, log);
    const share = (v) => (low === high && Number.isFinite(v) && !compared ? 0.5 : place(log ? Math.max(v, low) : v));
    return {
      columns: state.x < 0 ? [""] : sweep.labels(state.x),
      rows: state.y < 0 ? [""] : sweep.labels(state.y),
      nameX: state.x < 0 ? "" : sweep.nameOf(state.x),
      nameY: state.y < 0 ? "" : sweep.nameOf(state.y),
      place: (left, wide) => {
        if (mapLeft === left && select("bar").style.width) return;
        mapLeft = left;
        select("bar").style.marginLeft = `${left}px`;
        select("bar").style.width = `${wide}px`;
      },
      color: (i, j) => (outcomes ? rgb([sweep.colors[ends[at(i, j)]] ?? "#888888", "#888888"], 0) : colorOf(share(values[at(i, j)]))),
      mark: (i, j) => (compared ? "" : MARKS[ends[at(i, j)]] || ""),
      hatch: (i, j) => compared && !(compared[at(i, j)].low > 0 || compared[at(i, j)].high < 0),
      bold: (i, j) => {
        const runs = cells[at(i, j)];
        if (runs.some((run) => status[run] === 2)) return "chosen";
        return numBrushed && runs.some((run) => status[run] === 1) ? "brushed" : "";
      },
      isBrushing: () => numBrushed > 0,
      hint: (i, j) => hint(cells[at(i, j)], outcomes ? null : values[at(i, j)], compared && compared[at(i, j)]),
    };
  };
  function hint(runs, value, compared) {
    if (!runs.length) return "no runs";
    const lines = runs.length === 1 ? sweep.settings(runs[0]) : common(runs);
    if (value !== null) {
      const { share, label } = metrics[state.metric];
      const text = share && Number.isFinite(value) && !compared ? percent(value) : number(value);
      const what = compared ? ", difference from the first compared setting" : runs.length > 1 ? `, median of ${number(runs.length)} runs` : "";
      lines.push(`${label}${what}: ${text}`);
      if (compared) lines.push(`95 % interval ${number(compared.low)} to ${number(compared.high)}`);
    }
    lines.push(endsInWords(runs));
    return lines.join("\n");
  }
  function common(runs) {
    return axes.flatMap((axis, i) => {
      const first = sweep.indexOf(runs[0], i);
      return runs.every((run) => sweep.indexOf(run, i) === first) ? [`${sweep.nameOf(i)} ${sweep.labels(i)[first]}`] : [];
    });
  }
  function endsInWords(runs) {
    const counts = new Map();
    for (const run of runs) counts.set(outcomeOf(run), (counts.get(outcomeOf(run)) || 0) + 1);
    return [...counts].map(([name, n]) => (runs.length === 1 ? name : `${number(n)} ${name}`)).join(", ");
  }

  const drawMap = cellMap(select("map"), look, (i, j, more) => choose(cells[i * view.ny + j], more), (text) => (select("cell-told").textContent = `${text.replaceAll("\n", "; ")}.`));
  function choose(runs, more = false) {
    chosen = new Set(more ? [...chosen, ...runs] : runs);
    chosenWords = chosen.size ? `${common([...chosen]).join(", ") || count(chosen.size, "run")}: ${endsInWords([...chosen])}` : "";
    drawChosen();
    showCommand();
  }

  // The selected runs: the brushed ones, or those of the chosen cells.
  function selectedRuns() {
    const kind = numBrushed ? (run) => status[run] === 1 || (status[run] === 2 && [...ranges.values()].every((inside) => inside(run))) : (run) => status[run] === 2;
    return Array.from(status.keys()).filter(kind);
  }
  // Shows the command for the selected run; of several runs, for the one with the median value or,
  // on a map of outcomes, for the first with the most common outcome.
  function showCommand() {
    const runs = [...chosen];
    const valueShown = view.outcomes ? outcomeOf : valueOf;
    const middle = runs.length ? (view.outcomes ? mostCommon : median)(runs.map(valueShown)) : null;
    const run = runs.find((one) => Object.is(valueShown(one), middle)) ?? runs[0];
    const text = run === undefined ? null : replayCommand(sweep, run);
    const why = sweep.replayable ? "These runs are in memory; runs in a store (gd.sweep(..., store=...)) can be replayed." : "These runs are from a table, so they cannot be replayed.";
    select("command").textContent = text ?? "";
    select("command").hidden = select("copy").hidden = text === null;
    select("command-field").hidden = run === undefined;
    select("command-told").textContent =
      text === null ? (sweep.store === null ? why : "") : runs.length > 1 ? `It replays ${view.outcomes ? "a run with the most common outcome" : "the run with the median value"}.` : "";
  }
  select("copy").addEventListener("click", () => copyText(select("command"), select("command-told")));
  const showPython = (text, why) => {
    select("python-field").hidden = false;
    select("python").textContent = text ?? "";
    select("python").hidden = select("copy-python").hidden = !text;
    select("python-told").textContent = text ? "" : why;
    if (text) copyText(select("python"), select("python-told"));
  };
  select("copy-python").addEventListener("click", () => copyText(select("python"), select("python-told")));
  select("as-python").addEventListener("click", () => {
    const runs = selectedRuns();
    showPython(runs.length && sweep.replayable ? pythonSelection(sweep, runs) : null, sweep.replayable ? "Select runs first: click a cell, or brush a range." : "Runs of a table have no Dataset; the CSV has a column of the selected runs.");
  });
  select("finer").addEventListener("click", () => {
    const runs = selectedRuns();
    const text = runs.length && sweep.replayable ? finerCall(sweep, runs) : null;
    showPython(text, runs.length ? "There are no numbers between those of the selected runs." : "Select runs first: click a cell, or brush a range.");
  });
  if (!sweep.replayable) select("finer").hidden = true;
  select("save-png").addEventListener("click", () => {
    const [map, colors] = [select("map"), select("bar")];
    const dense = map.width / map.clientWidth;
    const bar = colors.hidden ? 0 : colors.height;
    const picture = element("canvas", { width: map.width, height: map.height + bar + Math.round(40 * dense) });
    const pen = picture.getContext("2d");
    pen.fillStyle = "#ffffff";
    pen.fillRect(0, 0, picture.width, picture.height);
    pen.fillStyle = "#1d2530";
    pen.font = `${13 * dense}px Inter, system-ui, sans-serif`;
    pen.fillText(select("map-caption").textContent, 12 * dense, 24 * dense, picture.width - 24 * dense);
    pen.drawImage(map, 0, 40 * dense);
    if (bar) pen.drawImage(colors, mapLeft * dense, 40 * dense + map.height);
    picture.toBlob((blob) => save("map.png", blob), "image/png");
  });
  select("save-csv").addEventListener("click", () => {
    const selected = new Set(selectedRuns());
    save("runs.csv", new Blob([csvOf(sweep, state.at, (run) => selected.has(run))], { type: "text/csv" }));
  });
  const bar = colorBar(select("bar"), colorOf, () => {
    const { low, high, log, compared } = view;
    const most = Math.max(Math.abs(low), Math.abs(high));
    const back = compared ? scale(-most, most, 0, 1).back : scale(low, high, 0, 1, log).back;
    return [0, 0.5, 1].map((s) => (metrics[state.metric]?.share && !compared ? percent(back(s)) : number(back(s))));
  });

  function drawValues() {
    view = measured();
    select("bar").hidden = view.outcomes || !view.anyFinite;
    drawMap();
    bar();
    const runsOfCell = Math.max(...cells.map((runs) => runs.length));
    const when = state.at === last ? "at the end" : `at step ${number(step[state.at])}`;
    const many = `, median of ${number(runsOfCell)} runs a cell`;
    const better = metrics[state.metric]?.share ? "Higher is better" : "Lower is better";
    select("map-caption").textContent = view.outcomes
      ? `How runs ended${runsOfCell > 1 ? `: the most common outcome of the ${number(runsOfCell)} runs of a cell` : ""}.`
      : view.compared
        ? `${metrics[state.metric].label} ${when}, difference from ${sweep.settingName(state.pair[0])}, by pairs of equal seeds. Hatched: the 95 % interval contains 0.`
        : `${metrics[state.metric].label} ${when}${runsOfCell > 1 ? many : ""}. ${better}, and brighter. Marks: how most of them ended.`;
    select("command-told").textContent = "";
    showCommand();
  }
  // On a map of outcomes the key has its colors; on other maps its marks.
  function drawKey() {
    const key = view.compared ? [] : [...present].map((name) => {
      if (!view.outcomes) return element("span", {}, MARKS[name] ? `${MARKS[name]} ${name}` : `no mark: ${name}`);
      return element("span", {}, dotOf(sweep.colors[name] ?? "#888888"), MARKS[name] ? `${MARKS[name]} ${name}` : name);
    });
    if (!view.outcomes && view.anyGray) {
      const why = view.anyFinite ? "gray: no finite value (diverged, or not begun at this step)" : "gray: no cell has a finite value";
      key.push(element("span", {}, dotOf(css(GREY)), why));
    }
    select("marks").replaceChildren(...key);
  }
  function dotOf(color) {
    const dot = element("i");
    dot.style.background = color;
    return dot;
  }
  function drawMapAnew() {
    arrange();
    drawValues();
    drawKey();
    select("cell-told").textContent = "";
    if (select("curves").value === "settings") drawSettings();
    fillLater();
    writeLater();
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
    const shown = Array.from({ length: Math.min(values.length, MAX_LINES) }, (_, k) =>
      Math.round((k * (values.length - 1)) / Math.max(Math.min(values.length, MAX_LINES) - 1, 1)));
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
    select("curve-key").replaceChildren(...shown.map((i, k) => element("span", {}, dotOf(colors[k]), `${sweep.nameOf(state.x)} ${values[i]}`)));
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
      `Orange: the chosen runs. Gray: ${behind.length < sweep.runs ? `${behind.length} of ${number(sweep.runs)} runs, evenly spaced` : "all runs"}.`;
  }
  function drawChosen() {
    drawCurves();
    drawBrush();
    writeLater();
  }
  // Marks runs as brushed, chosen or hidden, and draws what shows them.
  function drawBrush() {
    const inside = [...ranges.values()];
    numBrushed = 0;
    for (let run = 0; run < sweep.runs; run += 1) {
      const brushed = inside.length > 0 && !hidden[run] && inside.every((isInside) => isInside(run));
      numBrushed += brushed;
      status[run] = hidden[run] ? HIDDEN : chosen.has(run) ? 2 : Number(brushed);
    }
    const cut = chosen.size > MAX_CURVES ? ` The first ${MAX_CURVES} of them are drawn.` : "";
    const brushWords = inside.length ? ` ${number(numBrushed)} of ${count(sweep.runs, "run")} are in the brushed range.` : "";
    const numHidden = hidden.reduce((n, one) => n + one, 0);
    told.textContent = (chosen.size ? `${chosenWords}.${cut}` : "Click a cell to see its runs; shift adds cells.") + brushWords + (numHidden ? ` ${count(numHidden, "run")} are hidden.` : "");
    select("keep").disabled = select("exclude").disabled = !inside.length;
    select("unhide").disabled = !numHidden;
    drawMap();
    for (const one of strips) one.redraw();
    drawPathsLater();
    tellNotebook();
  }
  const drawBrushSoon = soon(drawBrush);
  const drawPathsLater = after(60, () => parallel.redraw()); // thousands of paths take longer than a frame
  const tellNotebook = after(200, () => window.parent !== window && window.parent.postMessage({ gdjax: "selection", runs: selectedRuns() }, "*"));
  const brush = (source) => (inside) => {
    if (inside) ranges.set(source, inside);
    else ranges.delete(source);
    drawBrushSoon();
    writeLater();
  };
  const strips = metrics.map((metric, m) => {
    const canvas = element("canvas", { className: "drag", tabIndex: 0 });
    canvas.setAttribute("role", "application");
    select("strips").append(element("figure", {}, element("figcaption", { textContent: `${metric.label}, at the end` }), canvas));
    return strip(canvas, metric.label, sweep.finals[m], metric.share, () => status, brush(`strip ${m}`));
  });
  const uprights = [
    ...axes.map((_, i) => ({ name: sweep.nameOf(i), texts: sweep.labels(i), values: Uint32Array.from(status, (_, run) => sweep.indexOf(run, i)) })),
    ...metrics.map((m, k) => ({ name: m.label, values: sweep.finals[k], share: m.share })),
    { name: "outcome", texts: [...present], values: Uint32Array.from(status, (_, run) => [...present].indexOf(outcomeOf(run))) },
  ];
  const parallel = parallelPlot(select("parallel"), uprights, sweep.runs, () => status, (k, inside) => brush(`upright ${k}`)(inside));
  parallel.buttons(select("move-left"), select("move-right"));
  // Hides all runs but the brushed ones, or the brushed ones.
  function hide(isHidden) {
    for (let run = 0; run < sweep.runs; run += 1) hidden[run] = Number(isHidden(run));
    for (const one of strips) one.range() && one.set(null);
    parallel.clear();
    ranges.clear();
    chosen = new Set();
    drawMapAnew();
    drawChosen();
    for (const one of [...strips, parallel]) one.renew();
  }
  const isBrushed = (run) => [...ranges.values()].every((inside) => inside(run));
  select("keep").addEventListener("click", () => hide((run) => hidden[run] || !isBrushed(run)));
  select("exclude").addEventListener("click", () => hide((run) => hidden[run] || isBrushed(run)));
  select("unhide").addEventListener("click", () => hide(() => false));

  // The table of settings, and two of them compared.
  const table = settingsTable(root, sweep, state, (s) => {
    choose(sweep.members[s]);
    select("map").scrollIntoView({ block: "nearest" });
  }, drawPair);
  function drawPair() {
    comparePair(root, sweep, state);
    select("differences").disabled = !state.pair.length;
    if (state.differences) drawMapAnew();
    writeLater();
  }
  select("differences").addEventListener("change", (event) => {
    state.differences = event.target.checked;
    drawMapAnew();
  });
  const fillLater = after(150, () => {
    table.fill();
    comparePair(root, sweep, state);
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
  select("curves").append(option("runs", "the chosen runs"));
  if (axes.length) select("curves").append(option("settings", ""));
  select("curves").addEventListener("change", () => {
    drawCurves();
    writeLater();
  });
  const showState = () => {
    if (axes.length) {
      select("curves").options[1].disabled = state.x < 0;
      select("curves").options[1].textContent = `median and quartiles per ${state.x < 0 ? NONE : sweep.nameOf(state.x)}`;
    }
    if (state.x < 0) select("curves").value = "runs";
    select("metric").value = String(state.metric);
    select("axis-x").value = String(state.x);
    select("axis-y").value = String(state.y);
    select("time").value = String(state.at);
    select("differences").checked = state.differences;
    tellTime();
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
  time.max = String(last);
  const tellTime = () => (select("time-told").textContent = number(step[state.at]));
  const drawTimeSoon = soon(() => {
    drawValues();
    drawKey();
  });
  time.addEventListener("input", () => {
    state.at = Number(time.value);
    tellTime();
    drawTimeSoon();
    fillLater();
    writeLater();
  });
  if (accuracy < 0) select("curve-accuracy").remove();
  select("thinned").textContent = sweep.told.join(" ");
  select("thinned").hidden = !sweep.told.length;
  importanceTable(root, sweep);
  const writeLater = after(250, () => writeState(sweep, state, select("curves").value, strips));
  const opened = readState(sweep, state);
  if (opened.curves && axes.length && state.x >= 0) select("curves").value = opened.curves;
  showState();
  for (const [m, range] of opened.ranges) strips[m].set(range);
  drawPair();
  table.fill();
  drawChosen();
  return { ...sweep, state, selectedRuns };
}
