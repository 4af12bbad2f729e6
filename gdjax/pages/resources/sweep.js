// The runs of a sweep: their settings, seeds, values and outcomes, and statistics over seeds.

function sweepOf(data) {
  const shape_ = data.axes.map((axis) => Object.values(axis.values)[0].length);
  const strides = shape_.map((_, i) => shape_.slice(i + 1).reduce((a, b) => a * b, 1));
  const runs = shape_.reduce((a, b) => a * b, 1);
  const records = data.step.length;
  const last = records - 1;
  const outcomeNames = new Map(Object.entries(data.outcomes).map(([code, name]) => [Number(code), name]));
  const outcomeOf = (run) => outcomeNames.get(data.outcome[run]) ?? "not finished";
  const indexOf = (run, i) => Math.floor(run / strides[i]) % shape_[i];
  const place = (run) => shape_.map((_, i) => indexOf(run, i));
  const texts = data.axes.map((axis) =>
    Object.fromEntries(Object.entries(axis.values).map(([name, values]) => [name, typeof values[0] === "string" ? values : numbersOf(values)])));
  const settings = (run) => place(run).flatMap((at, i) => Object.entries(texts[i]).map(([name, values]) => `${words(name)} ${values[at]}`));
  const labels = (i) => Object.values(texts[i])[0];
  const nameOf = (i) => words(Object.keys(data.axes[i].values)[0]);

  // A setting is a choice of all axes but seeds. Of several axes of seeds the longest one counts.
  const own = shape_.map((_, i) => i).filter((i) => !data.seeds.includes(i));
  const long = data.seeds.reduce((best, i) => (best < 0 || shape_[i] > shape_[best] ? i : best), -1);
  const numSettings = own.reduce((n, i) => n * shape_[i], 1);
  const numUnits = long < 0 ? 1 : shape_[long];
  const setting = new Uint32Array(runs);
  const members = Array.from({ length: numSettings }, () => []);
  for (let run = 0; run < runs; run += 1) {
    let at = 0;
    for (const i of own) at = at * shape_[i] + indexOf(run, i);
    setting[run] = at;
    members[at].push(run);
  }
  const unitOf = (run) => (long < 0 ? 0 : indexOf(run, long));
  const settingTexts = (s) => own.flatMap((i) => Object.entries(texts[i]).map(([name, values]) => [name, values[indexOf(members[s][0], i)]]));
  const settingName = (s) => settingTexts(s).map(([name, text]) => `${words(name)} ${text}`).join(", ") || "all runs";

  // The value at a record, or the one before it if a metric is recorded less often than the cost.
  function valueAt(metric, run, at) {
    const { values } = data.metrics[metric];
    for (let i = run * records + at; i >= run * records; i -= 1) if (!Number.isNaN(values[i])) return values[i];
    return NaN;
  }
  const finals = data.metrics.map((_, m) => Float32Array.from({ length: runs }, (_, run) => valueAt(m, run, last)));
  const diverged = Uint8Array.from({ length: runs }, (_, run) => Number(outcomeOf(run) === "diverged"));
  const signOf = (metric) => (data.metrics[metric].share ? -1 : 1);
  // Values of runs by seed, such that smaller is better; a run that diverged has the worst one.
  function bySeed(metric, list, at) {
    const groups = Array.from({ length: numUnits }, () => []);
    for (const run of list) {
      const v = at === last && diverged[run] ? Infinity : signOf(metric) * valueAt(metric, run, at);
      if (!Number.isNaN(v)) groups[unitOf(run)].push(v);
    }
    return groups.map((group) => (group.length ? middleOf(group) : NaN));
  }
  // Median over seeds and its interval, whose ends are observed values.
  function summary(metric, list, at) {
    const values = Float64Array.from(bySeed(metric, list, at).filter((v) => !Number.isNaN(v))).sort();
    const sign = signOf(metric);
    const n = values.length;
    const k = data.ranks[n]?.[0] ?? 0;
    const ends = k ? [values[k - 1], values[n - k]] : [-Infinity, Infinity];
    return {
      n, median: n ? sign * middleOf(values) : NaN,
      low: sign * ends[sign > 0 ? 0 : 1], high: sign * ends[sign > 0 ? 1 : 0],
      diverged: list.reduce((sum, run) => sum + diverged[run], 0) / list.length,
    };
  }
  // Differences first - second of equal seeds: the median of the means of pairs, and its interval.
  function paired(metric, first, second, at) {
    const sign = signOf(metric);
    const [a, b] = [bySeed(metric, first, at), bySeed(metric, second, at)];
    const d = a.map((v, i) => (v === b[i] ? 0 : sign * (v - b[i])));
    return { d, ...walsh(d.filter((v) => !Number.isNaN(v))) };
  }
  // A mean of +inf and -inf is left out, and counts beyond each end.
  function walsh(d) {
    const n = d.length;
    const means = new Float64Array((n * (n + 1)) / 2);
    let count = 0;
    for (let i = 0; i < n; i += 1) {
      for (let j = i; j < n; j += 1) {
        const mean = (d[i] + d[j]) / 2;
        if (!Number.isNaN(mean)) means[count++] = mean;
      }
    }
    const sorted = means.subarray(0, count).sort();
    const k = (data.ranks[n]?.[1] ?? 0) - (means.length - count);
    return {
      n, estimate: count ? middleOf(sorted) : NaN,
      low: k > 0 ? sorted[k - 1] : -Infinity, high: k > 0 ? sorted[count - k] : Infinity,
    };
  }
  const storeOf = (run) => (data.compared < 0 ? data.store : data.stores[indexOf(run, data.compared)]);
  // The step at which a branch left its parent, and the position of the parent's value on an axis.
  const branchAxis = data.axes.findIndex((axis) => "branch_step" in axis.values);
  const branchStep = (run) => (branchAxis < 0 ? undefined : data.axes[branchAxis].values.branch_step[indexOf(run, branchAxis)]);
  const parentIndex = (i) => {
    const [name, values] = Object.entries(data.axes[i].values)[0];
    return data.parent && name in data.parent.at ? Array.from(values).indexOf(data.parent.at[name]) : -1;
  };
  return {
    ...data, shape: shape_, strides, runs, records, last, outcomeOf, place, indexOf, settings, labels, nameOf, finals, own, members,
    setting, numSettings, numUnits, settingTexts, settingName, valueAt, summary, paired, signOf, storeOf, branchStep, parentIndex,
  };
}

// The middle value, or the mean of the two middle values, of which an infinite one decides.
function middleOf(values) {
  const sorted = Float64Array.from(values).sort();
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return low === high ? low : (low + high) / 2;
}

// The inverse of the empirical distribution function, which treats +inf as the largest value.
function quantile(values, share) {
  const sorted = Float64Array.from(values).filter((v) => !Number.isNaN(v)).sort();
  return sorted.length ? sorted[Math.max(Math.ceil(share * sorted.length), 1) - 1] : NaN;
}
const median = (values) => (values.length === 1 ? values[0] : quantile(values, 0.5));

// Median and quartiles at each recorded step over the runs of one setting.
function bandOf(values, records, runs) {
  const at = (share) => Array.from({ length: records }, (_, r) => quantile(runs.map((run) => values[run * records + r]), share));
  return { low: at(0.25), middle: at(0.5), high: at(0.75) };
}

function mostCommon(texts) {
  const counts = new Map();
  for (const text of texts) counts.set(text, (counts.get(text) || 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0][0];
}
