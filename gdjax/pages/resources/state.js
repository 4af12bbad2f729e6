// The state of the map in the address of the page, and the selection that a notebook receives.
//
//   #metric=0&x=0&y=1&step=4&fixed=-1.2&pair=3.5&differences=-2&curves=settings&range=0.25.0.5
//
// An address is untrusted: a value that its field does not allow is ignored.

function wholesOf(word, low, highs) {
  const parts = word.split(".");
  if (parts.length > highs.length || !parts.every((part) => /^-?\d{1,9}$/.test(part))) return null;
  const numbers = parts.map(Number);
  return numbers.every((n, i) => n >= low && n <= highs[i]) ? numbers : null;
}

function readState(sweep, state) {
  const fields = new Map(location.hash.slice(1, 4000).split("&").map((part) => part.split("=", 2)));
  const whole = (name, low, high) => {
    const found = fields.has(name) && fields.get(name) ? wholesOf(fields.get(name), low, [high]) : null;
    return found ? found[0] : null;
  };
  state.metric = whole("metric", 0, sweep.metrics.length) ?? state.metric;
  const [x, y] = [whole("x", 0, sweep.shape.length - 1) ?? state.x, whole("y", -1, sweep.shape.length - 1) ?? state.y];
  if (x !== y) [state.x, state.y] = [x, y];
  state.at = whole("step", 0, sweep.last) ?? state.at;
  const fixed = wholesOf(fields.get("fixed") ?? "", -1, sweep.shape.map((n) => n - 1));
  if (fixed && fixed.length === sweep.shape.length) state.fixed = fixed;
  state.pair = [...new Set(wholesOf(fields.get("pair") ?? "", 0, [sweep.numSettings - 1, sweep.numSettings - 1]) ?? [])];
  const differences = whole("differences", FROM_SETTING, sweep.shape.length - 1) ?? state.differences;
  if (differences < 0 || twoValued(sweep).includes(differences)) state.differences = differences;
  const ranges = sweep.metrics.flatMap((_, m) => {
    const found = wholesOf(fields.get(`range${m}`) ?? "", 0, [1000, 1000]);
    return found && found.length === 2 && found[0] < found[1] ? [[m, found.map((v) => v / 1000)]] : [];
  });
  return { curves: fields.get("curves") === "settings" ? "settings" : null, ranges };
}

function writeState(sweep, state, curves, strips) {
  const parts = [`metric=${state.metric}`, `x=${state.x}`, `y=${state.y}`, `step=${state.at}`];
  if (state.fixed.some((v) => v >= 0)) parts.push(`fixed=${state.fixed.join(".")}`);
  if (state.pair.length) parts.push(`pair=${state.pair.join(".")}`);
  if (state.differences !== firstState(sweep).differences) parts.push(`differences=${state.differences}`);
  if (curves === "settings") parts.push("curves=settings");
  strips.forEach((one, m) => one.range() && parts.push(`range${m}=${one.range().map((v) => Math.round(1000 * v)).join(".")}`));
  try {
    history.replaceState(null, "", `#${parts.join("&")}`);
  } catch {
    // A frame without an address of its own has no state.
  }
}

// Calls `act` once, after `wait` milliseconds without another call.
function after(wait, act) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, wait);
  };
}
