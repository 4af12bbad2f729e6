// The sweep: a map of any measure over any two axes, the runs of a cell, and where they lie.

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
  const labels = (i) => {
    const values = Object.values(data.axes[i].values)[0];
    return Array.from(values, shown);
  };
  const nameOf = (i) => words(Object.keys(data.axes[i].values)[0]);
  const finals = data.measures.map(({ values }) => {
    const last = new Float32Array(runs);
    for (let run = 0; run < runs; run += 1) last[run] = lastNumber(values.subarray(run * records, (run + 1) * records));
    return last;
  });
  return { ...data, shape: shape_, strides, runs, records, outcomeOf, place, settings, labels, nameOf, finals };
}

// The last that was recorded: measures may have a cadence of their own.
function lastNumber(values) {
  for (let i = values.length - 1; i >= 0; i -= 1) if (!Number.isNaN(values[i])) return values[i];
  return NaN;
}

// The middle one of the numbers that there are, the lower of two: +inf counts as what it is.
function median(values) {
  const sorted = values.filter((v) => !Number.isNaN(v)).sort((a, b) => a - b);
  return sorted.length ? sorted[Math.ceil(sorted.length / 2) - 1] : NaN;
}

function mostCommon(texts) {
  const counts = new Map();
  for (const text of texts) counts.set(text, (counts.get(text) || 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0][0];
}

function exploreRuns(root, data) {
  const sweep = sweepOf(data);
  const { axes, measures, step, records, strides } = sweep;
  const select = (id) => root.querySelector(`#${id}`);
  const told = select("runs-told");
  const accuracy = measures.findIndex((m) => m.share);
  const state = { measure: accuracy >= 0 ? accuracy : 0, x: 0, y: sweep.shape.length > 1 ? 1 : -1, fixed: axes.map(() => -1), at: records - 1 };
  let chosen = new Set();
  let chosenWords = "";
  let brushed = null; // run -> whether it is in what was brushed
  let cells = null;

  // Runs of every cell of the map, under what the sliders hold fixed.
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
    const outcomes = state.measure === measures.length;
    const values = outcomes ? cells.map(() => NaN) : cells.map((runs) => median(runs.map((run) => valueOf(run))));
    const [low, high] = extent(values);
    const log = !outcomes && !measures[state.measure].share && low > 0 && high > 8 * low;
    return { nx, ny, values, outcomes, low, high, log, ends: cells.map((runs) => mostCommon(runs.map(sweep.outcomeOf))) };
  }
  function valueOf(run) {
    const { values } = measures[state.measure];
    const row = values.subarray(run * records, run * records + state.at + 1);
    return state.at === records - 1 ? lastNumber(row) : row[state.at];
  }
  let view = arrange();

  const look = () => {
    const { nx, ny, values, outcomes, low, high, log, ends } = view;
    const at = (i, j) => i * ny + j;
    const share = scale(low, high, 0, 1, log);
    const flip = !outcomes && !measures[state.measure].share; // low costs are bright, as good reading is
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
      const { share } = measures[state.measure];
      const text = share && Number.isFinite(value) ? percent(value) : number(value);
      lines.push(`${measures[state.measure].label}${runs.length > 1 ? `, median of ${number(runs.length)} runs` : ""}: ${text}`);
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
  });
  const bar = colorBar(select("bar"), VIRIDIS, () => {
    const { low, high, log } = view;
    const flip = !measures[state.measure]?.share;
    const texts = [0, 0.5, 1].map((s) => scale(0, 1, 0, 1)(s)).map((s) => scale(low, high, 0, 1, log).back(flip ? 1 - s : s));
    return texts.map((v) => (measures[state.measure]?.share ? percent(v) : number(v)));
  });

  function drawMapAnew() {
    view = arrange();
    select("bar").hidden = view.outcomes;
    drawMap();
    bar();
    select("map-caption").textContent =
      `${view.outcomes ? "How runs ended" : measures[state.measure].label} ` +
      `${state.at === records - 1 ? "at the end" : `at step ${number(step[state.at])}`}` +
      `${cells[0].length > 1 ? `, median of ${number(cells[0].length)} runs a cell` : ""}. Marks: how most of them ended.`;
  }

  const behind = Array.from({ length: Math.min(sweep.runs, 200) }, (_, i) => Math.floor((i * sweep.runs) / Math.min(sweep.runs, 200)));
  const curve = (measure, run, color) => {
    const [x, y] = [[], []];
    for (let r = 0; r < records; r += 1) {
      const v = measures[measure].values[run * records + r];
      if (!Number.isNaN(v)) x.push(step[r]) && y.push(v);
    }
    return { x, y, color };
  };
  const drawn = [measures.findIndex((m) => m.name === "cost"), accuracy].filter((m) => m >= 0);
  function drawChosen() {
    const some = [...chosen].slice(0, 60);
    for (const measure of drawn) {
      const svg = select(measure === accuracy ? "curve-accuracy" : "curve-cost");
      chart(svg, {
        x: "step", y: measures[measure].label, logY: !measures[measure].share, share: measures[measure].share, height: 232,
        lines: some.map((run, i) => curve(measure, run, ["#b3420a", "#d97a45", "#8a3207", "#e09b6d"][i % 4])).filter((l) => l.x.length),
        behind: behind.map((run) => curve(measure, run)).filter((l) => l.x.length),
        mark: null,
      });
    }
    const hidden = chosen.size > some.length ? ` The first ${some.length} of them are drawn.` : "";
    told.textContent = (chosen.size ? `${chosenWords}.${hidden}` : "Click a cell to see its runs; shift adds cells.") + brushWords();
    select("behind-told").textContent =
      `Grey: ${behind.length < sweep.runs ? `${behind.length} of ${number(sweep.runs)} runs, evenly chosen` : "all runs"}.`;
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
  const strips = measures.map((measure, m) => {
    const canvas = element("canvas", { className: "drag", tabIndex: 0 });
    canvas.setAttribute("role", "application");
    select("strips").append(element("figure", {}, element("figcaption", { textContent: `${measure.label}, at the end` }), canvas));
    return strip(canvas, measure.label, sweep.finals[m], measure.share, status, (inside) => {
      if (inside) strips.forEach((other, k) => k !== m && other.clear());
      brushed = inside && ((run) => inside(sweep.finals[m][run]));
      drawChosen();
    });
  });

  // What is chosen above the map.
  measures.forEach((m, i) => select("measure").append(option(i, m.label)));
  select("measure").append(option(measures.length, "how it ended"));
  const axisOptions = (box, none) => {
    axes.forEach((_, i) => box.append(option(i, sweep.nameOf(i))));
    if (none) box.append(option(-1, NONE));
  };
  axisOptions(select("axis-x"), !axes.length);
  axisOptions(select("axis-y"), true);
  const showState = () => {
    select("measure").value = String(state.measure);
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
  select("measure").addEventListener("change", (event) => {
    state.measure = Number(event.target.value);
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
  const present = new Set(Array.from({ length: sweep.runs }, (_, run) => sweep.outcomeOf(run)));
  select("marks").replaceChildren(
    ...[...present].map((name) => element("span", {}, MARKS[name] ? `${MARKS[name]} ${name}` : `no mark: ${name}`)),
  );
  if (accuracy < 0) select("curve-accuracy").remove();
  select("thinned").textContent = sweep.told.join(" ");
  select("thinned").hidden = !sweep.told.length;
  showState();
  drawChosen();
  return sweep;
}
