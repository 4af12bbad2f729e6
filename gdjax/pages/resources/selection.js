// Runs that were selected, as text for other programs: a command, Python, a table, a finer sweep.

// A word of a shell command; null if a terminal could interpret it even in quotes.
function shellWord(text) {
  if (/[\u0000-\u001f\u007f-\u009f]/.test(text)) return null;
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

// The command that replays a run; null if the runs have no store or its words are not valid.
function replayCommand(sweep, run) {
  const store = sweep.storeOf(run);
  if (store === null) return null;
  const at = sweep.place(run).flatMap((index, i) => i === sweep.compared ? [] : Object.entries(sweep.axes[i].values).map(([name, values]) => `${name}=${values[index]}`));
  const all = ["gdjax", "replay", store, "--at", ...at].map(shellWord);
  return all.includes(null) ? null : all.join(" ");
}

// A value as Python writes it; text is a literal in quotes, so it can do nothing.
function pythonValue(value, kind) {
  if (kind === "b") return value === "true" ? "True" : "False";
  if (typeof value === "string") return pythonText(value);
  if (!Number.isFinite(value)) return `float("${Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf"}")`;
  return kind === "f" && Number.isInteger(value) && Math.abs(value) < 1e16 ? `${value}.0` : String(value);
}
const pythonText = (text) =>
  JSON.stringify(text).replace(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

// The positions of runs along each dimension, and whether the runs are all of that box.
function boxOf(sweep, runs) {
  const box = sweep.shape.map((_, i) => [...new Set(runs.map((run) => sweep.indexOf(run, i)))].sort((a, b) => a - b));
  return { box, full: box.reduce((n, index) => n * index.length, 1) === runs.length };
}

// Python that selects runs of a Dataset: by values where a dimension has them, else by positions.
function pythonSelection(sweep, runs) {
  const { box, full } = boxOf(sweep, runs);
  const [labels, positions] = [[], []];
  box.forEach((index, i) => {
    const axis = sweep.axes[i];
    if (index.length === sweep.shape[i] && axis.whole === sweep.shape[i]) return;
    const values = axis.labeled ? index.map((at) => pythonValue(axis.values[axis.dim][at], axis.kinds[axis.dim])) : index.map((at) => axis.index[at]);
    (axis.labeled ? labels : positions).push(`${pythonText(axis.dim)}: [${values.join(", ")}]`);
  });
  const chain = `${labels.length ? `.sel({${labels.join(", ")}})` : ""}${positions.length ? `.isel({${positions.join(", ")}})` : ""}`;
  const all = sweep.compared < 0 ? "runs" : "view.runs"; // the compared sweeps on one axis
  if (full) return `selected = ${all}${chain || ".copy()"}`;
  const places = sweep.axes.map((axis, i) => `${pythonText(axis.dim)}: ("run", [${runs.map((run) => axis.index[sweep.indexOf(run, i)]).join(", ")}])`);
  return `import xarray as xr\n\nselected = ${all}.isel({key: xr.DataArray(index, dims=dim) for key, (dim, index) in {\n    ${places.join(",\n    ")},\n}.items()})`;
}

// Values of an axis with a number between each two from one before `low` to one after `high`. Where
// a number cannot be told from its neighbors in float32, none is added.
function finerValues(values, low, high, integer, log) {
  const sorted = Array.from(values).sort((a, b) => a - b);
  const [first, last] = [Math.max(sorted.indexOf(low) - 1, 0), Math.min(sorted.indexOf(high) + 1, sorted.length - 1)];
  const added = [];
  for (let i = first; i < last; i += 1) {
    const middle = log ? Math.sqrt(sorted[i] * sorted[i + 1]) : (sorted[i] + sorted[i + 1]) / 2;
    const v = integer ? Math.round(middle) : Number(middle.toPrecision(8));
    if (![sorted[i], sorted[i + 1]].some((end) => Math.fround(end) === Math.fround(v))) added.push(v);
  }
  return added;
}

// The call that computes a finer grid around runs: an extension of the store, which keeps its runs,
// or a sweep of the region.
function finerCall(sweep, runs) {
  const { box } = boxOf(sweep, runs);
  const whole = sweep.axes.every((axis, i) => axis.whole === sweep.shape[i]) && sweep.store !== null;
  let added = 0;
  const parts = sweep.axes.map((axis, i) => {
    const columns = Object.entries(axis.values).map(([name, values]) => {
      const kind = axis.kinds[name];
      const kept = whole ? Array.from(values) : box[i].map((at) => values[at]);
      const inside = box[i].map((at) => values[at]);
      const fine = typeof values[0] !== "string" && !sweep.seeds.includes(i) && Object.keys(axis.values).length === 1;
      const more = fine ? finerValues(values, Math.min(...inside), Math.max(...inside), kind !== "f", axis.log) : [];
      added += more.length;
      const all = more.length ? [...kept, ...more].sort((a, b) => a - b) : kept;
      return `${pythonText(name)}: [${all.map((v) => pythonValue(v, kind)).join(", ")}]`;
    });
    return columns.length === 1 ? `**{${columns[0]}}` : `**{${pythonText(axis.dim)}: gd.zip_axes(**{${columns.join(", ")}})}`;
  });
  if (!added) return null;
  const axes = `axes = gd.axes(\n    ${parts.join(",\n    ").replaceAll(/\*\*\{"([a-zA-Z]\w*)": (\[[^\]]*\])\}/g, "$1=$2")},\n)`;
  if (!whole) return `${axes}\nfiner = gd.sweep(problem, axes, ${sweep.step[sweep.last]})`;
  const to = sweep.store.replace(/(\.zarr)?\/*$/, "_finer.zarr");
  return `${axes}\nfiner = gd.extend(${pythonText(sweep.store)}, axes, to=${pythonText(to)})`;
}

// A field of a table; a spreadsheet interprets text that begins with one of =+-@ as a formula.
function csvField(value) {
  if (typeof value === "number") return Number.isNaN(value) ? "" : String(value);
  const text = value.replace(/^[=+\-@\t\r]/, "'$&");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// The shortest decimal number that float32 reads as `v`.
function shortest(v) {
  if (!Number.isFinite(v)) return v;
  for (let digits = 6; digits < 9; digits += 1) if (Math.fround(Number(v.toPrecision(digits))) === v) return Number(v.toPrecision(digits));
  return Number(v.toPrecision(9));
}

// One row per run: its settings, its metrics at or before a record, its outcome, whether it is selected.
function csvOf(sweep, at, isSelected) {
  const columns = sweep.axes.flatMap((axis, i) => Object.entries(axis.values).map(([name, values]) => [name, (run) => values[sweep.indexOf(run, i)]]));
  columns.push(["step", () => sweep.step[at]]);
  sweep.metrics.forEach((m, k) => columns.push([m.name, (run) => shortest(sweep.valueAt(k, run, at))]));
  columns.push(["outcome", sweep.outcomeOf], ["selected", (run) => (isSelected(run) ? "True" : "False")]);
  const rows = Array.from({ length: sweep.runs }, (_, run) => columns.map(([, value]) => csvField(value(run))));
  return [columns.map(([name]) => csvField(name)), ...rows].map((row) => `${row.join(",")}\r\n`).join("");
}

function save(name, blob) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  URL.revokeObjectURL(link.href);
}

// Copies the text of an element, or selects it where copying is not permitted.
async function copyText(node, told) {
  try {
    await navigator.clipboard.writeText(node.textContent);
    told.textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren(node);
    told.textContent = "Selected: copy it with Ctrl+C.";
  }
}
