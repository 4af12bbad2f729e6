// The cells of the map: their runs, and their numbers or differences of paired seeds with colors.

const MAX_PAIRS = 4e6; // maximum number of pairs of seeds of all cells of a map of differences
const VALUES = -1; // `state.differences` is VALUES, FROM_SETTING or an axis with two values
const FROM_SETTING = -2;

// `status` and `hidden` are arrays of all runs; `place(left, wide)` receives the extent of the map.
function mapCells(sweep, state, status, hidden, place) {
  const { axes, metrics, strides, outcomeOf } = sweep;
  let cells = [];
  let ends = []; // how most runs of a cell ended
  let view = null;
  const map = {
    numBrushed: 0, arrange, measure, colorOf, look, common, endsInWords, valueOf,
    cells: () => cells, view: () => view, runsAt: (i, j) => cells[i * view.ny + j],
  };

  // The cells for the values of the sliders. Differences along an axis need its two values.
  function arrange() {
    if (state.differences === state.x || state.differences === state.y) state.differences = VALUES;
    const [nx, ny] = [state.x, state.y].map((i) => (i < 0 ? 1 : sweep.shape[i]));
    cells = Array.from({ length: nx * ny }, () => []);
    const fixed = axes.map((_, i) => i).filter((i) => i !== state.x && i !== state.y && i !== state.differences && state.fixed[i] >= 0);
    for (let run = 0; run < sweep.runs; run += 1) {
      if (hidden[run] || fixed.some((i) => sweep.indexOf(run, i) !== state.fixed[i])) continue;
      const index = (i) => (i < 0 ? 0 : Math.floor(run / strides[i]) % sweep.shape[i]);
      cells[index(state.x) * ny + index(state.y)].push(run);
    }
    ends = cells.map((runs) => (runs.length ? mostCommon(runs.map(outcomeOf)) : ""));
  }
  function valueOf(run) {
    return sweep.valueAt(state.metric, run, state.at);
  }
  // The two groups of runs of which a cell shows the difference, or null.
  function groups() {
    const along = state.differences;
    if (state.metric === metrics.length || along === VALUES) return null;
    if (along === FROM_SETTING) return state.pair.length ? (runs) => [runs, sweep.members[state.pair[0]]] : null;
    return (runs) => [0, 1].map((k) => runs.filter((run) => sweep.indexOf(run, along) === k));
  }
  // The numbers of the cells, and the range of their colors.
  function measure() {
    const [nx, ny] = [state.x, state.y].map((i) => (i < 0 ? 1 : sweep.shape[i]));
    const outcomes = state.metric === metrics.length;
    const groupsOf = groups();
    const pairs = cells.length * (sweep.numUnits * (sweep.numUnits + 1)) / 2;
    const compared = groupsOf && pairs <= MAX_PAIRS ? cells.map((runs) => sweep.paired(state.metric, ...groupsOf(runs), state.at)) : null;
    const values = outcomes ? cells.map(() => NaN) : compared ? compared.map(({ estimate }) => estimate) : cells.map((runs) => median(runs.map(valueOf)));
    const [lowest, high] = extent(values);
    // A zero has no logarithm, and the color of the smallest positive value.
    const low = lowest === 0 && high > 0 ? extent(values.filter((v) => v > 0))[0] : lowest;
    const log = !outcomes && !compared && !metrics[state.metric].share && low > 0 && high > 8 * low;
    view = { nx, ny, values, outcomes, compared, low, high, log, anyFinite: values.some(Number.isFinite), anyGray: values.some((v) => !Number.isFinite(v)) };
  }

  // Bright cells are good: low costs, high accuracies. Differences are blue where they are better.
  function colorOf(share) {
    if (view.compared) return rgb(SIGNED, metrics[state.metric].share ? 1 - share : share);
    return rgb(VIRIDIS, metrics[state.metric]?.share ? share : 1 - share);
  }
  function look() {
    const { ny, values, outcomes, compared, low, high, log } = view;
    const at = (i, j) => i * ny + j;
    const most = Math.max(Math.abs(low), Math.abs(high)) || 1;
    const placeColor = compared ? scale(-most, most, 0, 1) : scale(low, high, 0, 1, log);
    const share = (v) => (low === high && Number.isFinite(v) && !compared ? 0.5 : placeColor(log ? Math.max(v, low) : v));
    return {
      columns: state.x < 0 ? [""] : sweep.labels(state.x),
      rows: state.y < 0 ? [""] : sweep.labels(state.y),
      nameX: state.x < 0 ? "" : sweep.nameOf(state.x),
      nameY: state.y < 0 ? "" : sweep.nameOf(state.y),
      place,
      color: (i, j) => (outcomes ? rgb([sweep.colors[ends[at(i, j)]] ?? "#888888", "#888888"], 0) : colorOf(share(values[at(i, j)]))),
      mark: (i, j) => (compared ? "" : MARKS[ends[at(i, j)]] || ""),
      hatch: (i, j) => compared && !(compared[at(i, j)].low > 0 || compared[at(i, j)].high < 0),
      bold: (i, j) => {
        const runs = cells[at(i, j)];
        if (runs.some((run) => status[run] === 2)) return "chosen";
        return map.numBrushed && runs.some((run) => status[run] === 1) ? "brushed" : "";
      },
      isBrushing: () => map.numBrushed > 0,
      hint: (i, j) => hint(cells[at(i, j)], outcomes ? null : values[at(i, j)], compared && compared[at(i, j)]),
    };
  }
  function hint(runs, value, compared) {
    if (!runs.length) return "no runs";
    const lines = runs.length === 1 ? sweep.settings(runs[0]) : common(runs);
    if (value !== null) {
      const { share, label } = metrics[state.metric];
      const text = share && Number.isFinite(value) && !compared ? percent(value) : number(value);
      const what = compared ? `, difference ${differenceName(sweep, state)}` : runs.length > 1 ? `, median of ${number(runs.length)} runs` : "";
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
  return map;
}

// Axes with two values, whose differences the map can show.
const twoValued = (sweep) => sweep.own.filter((i) => sweep.shape[i] === 2);

function differenceName(sweep, { differences, pair }) {
  if (differences === FROM_SETTING) return pair.length ? `from ${sweep.settingName(pair[0])}` : "from the first compared setting";
  const [first, second] = sweep.labels(differences);
  return `${sweep.nameOf(differences)} ${first} − ${second}`;
}
