// The sweep: a map of any metric over any two axes, the runs of a cell, and what is selected.

const NONE = "—";

function exploreRuns(root, data) {
  const sweep = sweepOf(data);
  const { axes, metrics, step, last, outcomeOf } = sweep;
  const select = (id) => root.querySelector(`#${id}`);
  const told = select("runs-told");
  const state = firstState(sweep);
  let chosen = new Set();
  let chosenWords = "";
  const status = new Uint8Array(sweep.runs); // 0, 1 for brushed, 2 for chosen, 3 for hidden runs
  const hidden = new Uint8Array(sweep.runs);
  const ranges = new Map(); // brushed ranges: their source, and a function of a run
  const present = new Set(Array.from({ length: sweep.runs }, (_, run) => outcomeOf(run)));

  let mapLeft = 72;
  const map = mapCells(sweep, state, status, hidden, (left, wide) => {
    if (mapLeft === left && select("bar").style.width) return;
    mapLeft = left;
    select("bar").style.marginLeft = `${left}px`;
    select("bar").style.width = `${wide}px`;
  });
  map.arrange();
  map.measure();
  const drawMap = cellMap(select("map"), map.look, (cells, more) => choose(cells.flatMap(([i, j]) => map.runsAt(i, j)), more), (text) => (select("cell-told").textContent = `${text.replaceAll("\n", "; ")}.`));
  function choose(runs, more = false) {
    chosen = new Set(more ? [...chosen, ...runs] : runs);
    chosenWords = chosen.size ? `${map.common([...chosen]).join(", ") || count(chosen.size, "run")}: ${map.endsInWords([...chosen])}` : "";
    drawChosen();
    showCommand();
  }

  // The selected runs: the brushed ones, or those of the chosen cells.
  function selectedRuns() {
    const kind = map.numBrushed ? (run) => status[run] === 1 || (status[run] === 2 && [...ranges.values()].every((inside) => inside(run))) : (run) => status[run] === 2;
    return Array.from(status.keys()).filter(kind);
  }
  const showCommand = savingButtons(select, sweep, state, map, selectedRuns, () => chosen, () => mapLeft);
  const bar = colorBar(select("bar"), map.colorOf, () => {
    const { low, high, log, compared } = map.view();
    const most = Math.max(Math.abs(low), Math.abs(high)) || 1;
    const back = compared ? scale(-most, most, 0, 1).back : scale(low, high, 0, 1, log).back;
    return [0, 0.5, 1].map((s) => (metrics[state.metric]?.share && !compared ? percent(back(s)) : number(back(s))));
  });


  function drawValues() {
    map.measure();
    const view = map.view();
    select("bar").hidden = view.outcomes || !view.anyFinite;
    drawMap();
    bar();
    const runsOfCell = Math.max(...map.cells().map((runs) => runs.length));
    const when = state.at === last ? "at the end" : `at step ${number(step[state.at])}`;
    const many = `, median of ${number(runsOfCell)} runs a cell`;
    const better = metrics[state.metric]?.share ? "Higher is better" : "Lower is better";
    select("map-caption").textContent = view.outcomes
      ? `How runs ended${runsOfCell > 1 ? `: the most common outcome of the ${number(runsOfCell)} runs of a cell` : ""}.`
      : view.compared
        ? `${metrics[state.metric].label} ${when}, difference ${differenceName(sweep, state)}, by pairs of equal seeds. Hatched: the 95 % interval contains 0.`
        : `${metrics[state.metric].label} ${when}${runsOfCell > 1 ? many : ""}. ${better}, and brighter. Marks: how most of them ended.`;
    select("command-told").textContent = "";
    showCommand();
  }
  // On a map of outcomes the key has its colors; on other maps its marks.
  function drawKey() {
    const view = map.view();
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
  function drawMapAnew() {
    map.arrange();
    drawValues();
    drawKey();
    select("cell-told").textContent = "";
    if (select("curves").value === "settings") drawCurves(chosen);
    fillLater();
    writeLater();
  }

  const drawCurves = runCurves(select, sweep, state, map);
  function drawChosen() {
    drawCurves(chosen);
    drawBrush();
    writeLater();
  }
  // Marks runs as brushed, chosen or hidden, and draws what shows them.
  function drawBrush() {
    const inside = [...ranges.values()];
    map.numBrushed = 0;
    for (let run = 0; run < sweep.runs; run += 1) {
      const brushed = inside.length > 0 && !hidden[run] && inside.every((isInside) => isInside(run));
      map.numBrushed += brushed;
      status[run] = hidden[run] ? HIDDEN : chosen.has(run) ? 2 : Number(brushed);
    }
    const cut = chosen.size > MAX_CURVES ? ` The first ${MAX_CURVES} of them are drawn.` : "";
    const brushWords = inside.length ? ` ${number(map.numBrushed)} of ${count(sweep.runs, "run")} are in the brushed range.` : "";
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
    ...axes.map((_, i) => ({ name: sweep.nameOf(i), texts: sweep.labels(i), values: Uint32Array.from(status, (_, run) => sweep.indexOf(run, i)), parent: sweep.parentIndex(i) })),
    ...metrics.map((m, k) => ({ name: m.label, values: sweep.finals[k], share: m.share, parent: sweep.parent?.metrics[m.name]?.at(-1) ?? NaN })),
    { name: "outcome", texts: [...present], values: Uint32Array.from(status, (_, run) => [...present].indexOf(outcomeOf(run))), parent: [...present].indexOf(sweep.parent?.outcome) },
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
    select("differences").options[1].disabled = !state.pair.length;
    if (state.differences === FROM_SETTING) drawMapAnew();
    writeLater();
  }
  // What the map shows: values, or differences of pairs of equal seeds.
  function showDifferences() {
    const along = twoValued(sweep).filter((i) => i !== state.x && i !== state.y);
    select("differences").replaceChildren(option(VALUES, "values"), option(FROM_SETTING, "difference from the first compared setting"),
      ...along.map((i) => option(i, `difference ${differenceName(sweep, { differences: i })}`)));
    select("differences").value = String(state.differences);
    select("differences").options[1].disabled = !state.pair.length;
  }
  select("differences").addEventListener("change", (event) => {
    state.differences = Number(event.target.value);
    showState();
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
    drawCurves(chosen);
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
    tellTime();
    const others = axes.map((_, i) => i).filter((i) => ![state.x, state.y, state.differences].includes(i));
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
    showDifferences();
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

// The state at first: settings across and upwards, and differences if sweeps are compared.
function firstState(sweep) {
  const accuracy = sweep.metrics.findIndex((m) => m.share);
  const [x, y] = sweep.compared < 0 ? [0, sweep.shape.length > 1 ? 1 : -1] : sweep.own.filter((i) => i !== sweep.compared);
  const differences = sweep.compared >= 0 && sweep.shape[sweep.compared] === 2 ? sweep.compared : VALUES;
  return { metric: Math.max(accuracy, 0), x: x ?? 0, y: y ?? -1, fixed: sweep.axes.map(() => -1), at: sweep.last, pair: [], differences };
}
