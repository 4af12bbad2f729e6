// Curves of runs: of the chosen ones, or median and quartiles of each value of an axis. Branches are
// joined to the run that they left.

const MAX_LINES = 12; // maximum number of settings with medians
const MAX_CURVES = 60; // maximum number of curves of selected runs
const MAX_BEHIND = 200; // maximum number of gray curves

function dotOf(color) {
  const dot = element("i");
  dot.style.background = color;
  return dot;
}

function runCurves(select, sweep, state, map) {
  const { metrics, step, records, parent } = sweep;
  const accuracy = metrics.findIndex((m) => m.share);
  const numBehind = Math.min(sweep.runs, MAX_BEHIND);
  const behind = Array.from({ length: numBehind }, (_, i) => Math.floor((i * sweep.runs) / numBehind));
  const drawn = [metrics.findIndex((m) => m.name === "cost"), accuracy].filter((m) => m >= 0);
  if (accuracy < 0) select("curve-accuracy").remove();

  function curve(metric, run, color) {
    const [x, y] = [[], []];
    for (let r = 0; r < records; r += 1) {
      const v = metrics[metric].values[run * records + r];
      if (!Number.isNaN(v)) x.push(step[r]) && y.push(v);
    }
    return { x, y, color };
  }
  // The curve of a branch from the last record of its parent up to the step at which it left.
  function joined(line, metric, run) {
    const values = parent?.metrics[metrics[metric].name];
    if (!values || !line.x.length) return line;
    const left = sweep.branchStep(run) ?? line.x[0];
    let r = parent.step.length - 1;
    while (r >= 0 && (parent.step[r] > left || Number.isNaN(values[r]))) r -= 1;
    return r < 0 ? line : { ...line, x: [parent.step[r], ...line.x], y: [values[r], ...line.y] };
  }
  function parentLines(metric) {
    const values = parent?.metrics[metrics[metric].name];
    return values ? [{ x: Array.from(parent.step), y: Array.from(values), color: "#1d2530", width: 1.6, dash: "6 4" }] : [];
  }
  const parentWords = parent ? ` Dashed: the run that the branches left, ${parent.name}.` : "";
  function show(metric, lines, more) {
    chart(select(metric === accuracy ? "curve-accuracy" : "curve-cost"), {
      x: "step", y: metrics[metric].label, logY: !metrics[metric].share, share: metrics[metric].share, height: 232,
      lines: [...parentLines(metric), ...lines], mark: null, ...more,
    });
  }

  // One line per value of the horizontal axis: the median of its runs, between their quartiles.
  function drawSettings() {
    const values = sweep.labels(state.x);
    const { ny } = map.view();
    const shown = Array.from({ length: Math.min(values.length, MAX_LINES) }, (_, k) =>
      Math.round((k * (values.length - 1)) / Math.max(Math.min(values.length, MAX_LINES) - 1, 1)));
    const colors = shown.map((_, k) => css(rgb(VIRIDIS, (0.9 * k) / Math.max(shown.length - 1, 1))));
    for (const metric of drawn) {
      const bands = shown.map((i) => bandOf(metrics[metric].values, records, map.cells().slice(i * ny, (i + 1) * ny).flat()));
      const x = Array.from(step);
      show(metric, bands.map(({ middle }, k) => ({ x, y: middle, color: colors[k] })), {
        bands: bands.map(({ low, high }, k) => ({ x, low, high, color: colors[k] })),
      });
    }
    select("curve-key").replaceChildren(...shown.map((i, k) => element("span", {}, dotOf(colors[k]), `${sweep.nameOf(state.x)} ${values[i]}`)));
    const left = shown.length < values.length ? ` ${shown.length} of ${number(values.length)} values are drawn, evenly spaced.` : "";
    select("curve-told").textContent = `Lines: median of the runs of each ${sweep.nameOf(state.x)}. Bands: from the lower to the upper quartile; a band ends where its upper quartile is infinite.${left}${parentWords}`;
  }
  function drawRuns(chosen) {
    const colors = ["#b3420a", "#d97a45", "#8a3207", "#e09b6d"];
    for (const metric of drawn) {
      show(metric, [...chosen].slice(0, MAX_CURVES).map((run, i) => joined(curve(metric, run, colors[i % 4]), metric, run)).filter((l) => l.x.length), {
        behind: behind.map((run) => curve(metric, run)).filter((l) => l.x.length),
      });
    }
    select("curve-told").textContent =
      `Orange: the chosen runs. Gray: ${behind.length < sweep.runs ? `${behind.length} of ${number(sweep.runs)} runs, evenly spaced` : "all runs"}.${parentWords}`;
  }
  return (chosen) => {
    const isMedian = select("curves").value === "settings";
    select("curve-key").hidden = !isMedian;
    if (isMedian) drawSettings();
    else drawRuns(chosen);
  };
}
