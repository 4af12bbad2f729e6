// The worker: descents in a separate thread, so that the page responds while it trains.
//
// The page sends {id, ask, ...} and receives {id, answer}; while descents run, the worker sends
// their {progress: [...]}.

import { batchOrder, costsAlong, gradientOf, lineCost, measure, modelOf, nextRecord, ontoPlane, recordOf, rowsOf, startingPoint, stepped } from "./descent.js";
import { answerOf, forward, layersOf, litPixels } from "./network.js";

const SLICE = 40; // milliseconds of work between two checks for messages
const SHOWN = ["first", "grow"]; // the descents whose networks the page shows
const PACED_SHARE = 0.05; // a paced descent grows by this share in a slice, so that it can be watched
const PACED_WAIT = 50; // milliseconds between its slices
const UNDO = 200; // moves that can be undone

let data = null; // {widths, train, test}
const descents = new Map();
let running = null; // {names, until, isPaced, finish}, with the last step of each

// Records use `images` training images, all by default, at steps that grow by `ratio`. A descent may
// begin at a network {step, params} that was trained elsewhere. Of a watched image {pixels, target}, the
// answer and the output of its target are kept for each step. With a plane {origin, along}, and a start in
// it, records are costs, of the network and of the nearest point in the plane, and the distance from it.
function begin(name, settings, options) {
  const descent = created(name, settings, options);
  descents.set(name, descent);
  watch(descent);
  record(descent);
  if (options.trained) {
    Object.assign(descent, { step: options.trained.step, params: Float64Array.from(options.trained.params) });
    record(descent);
  }
  return descent;
}

function created(name, settings, { images = data.train.labels.length, ratio = 1.25, watched = null, plane = null, start = null }) {
  return {
    name,
    settings,
    ratio,
    recorded: { test: data.test, train: { ...data.train, labels: data.train.labels.subarray(0, images) } },
    model: modelOf(settings, data.widths),
    order: batchOrder(settings.batch, data.train.labels.length),
    step: 0,
    params: start ?? startingPoint(settings, data.widths),
    plane,
    records: [],
    watched: watched && { ...watched, lit: litPixels(watched.pixels, watched.pixels.length) },
    answers: [],
    outputs: [],
    past: [], // {step, params, records} before each move
  };
}

// Takes again the steps that led to a network that was trained elsewhere, for their records.
function retrace(descent) {
  const last = descent.step;
  const again = created(descent.name, descent.settings, {});
  record(again);
  const work = () => {
    if (descents.get(descent.name) !== descent) return;
    const end = Date.now() + SLICE;
    while (again.step + 1 < last && Date.now() < end) move(again);
    descent.records = [...again.records, ...descent.records.filter(({ step }) => step >= last)];
    postMessage({ progress: [told(descent)] });
    if (again.step + 1 < last) setTimeout(work, SLICE / 4);
  };
  work();
}

function record(descent) {
  if (descent.records.at(-1)?.step === descent.step) return;
  const numbers = descent.plane ? beside(descent) : recordOf(descent.model, descent.params, descent.step, descent.recorded);
  descent.records.push({ ...numbers, params: Float32Array.from(descent.params) });
}

function beside({ model, params, step, plane, recorded: { train } }) {
  const { nearest, ...place } = ontoPlane(params, plane);
  const [cost, slice] = [params, nearest].map((at) => measure(model, at, train, rowsOf(train)).cost);
  return { step, cost, slice, ...place };
}

function watch({ model, params, watched, answers, outputs }) {
  if (!watched) return;
  const { best, sure } = answerOf(model, forward(layersOf(model, params), watched.lit).at(-1));
  answers.push(best);
  outputs.push(sure[watched.target]);
}

function move(descent) {
  const { model, params, order, step, settings, records } = descent;
  descent.params = stepped(params, gradientOf(model, params, data.train, order(step)), settings.rate);
  descent.step += 1;
  watch(descent);
  if (descent.step >= nextRecord(records.at(-1).step, descent.ratio)) record(descent);
}

function remember({ past, step, params, records }) {
  past.push({ step, params, records: [...records] });
  if (past.length > UNDO) past.shift();
}

// State that is sent to the page. The parameters of records are sent only on request.
const told = ({ name, settings, model, step, params, records, past, answers, outputs }) => ({
  name, settings, model, step,
  params: SHOWN.includes(name) ? params : null,
  answers, outputs,
  records: records.map(({ params: _, ...numbers }) => numbers),
  isDiverged: isDiverged({ records }),
  canUndo: past.length > 0,
});

const isDiverged = ({ records }) => records.at(-1).cost === Infinity;

const isUnfinished = (name) => {
  const descent = descents.get(name);
  return descent.step < running.until[running.names.indexOf(name)] && !isDiverged(descent);
};

// Descents take turns: the one with the fewest steps continues.
function nextName() {
  const names = running.names.filter(isUnfinished);
  return names.reduce((best, name) => (descents.get(name).step < descents.get(best).step ? name : best), names[0]);
}

// Does one slice of work; messages from the page are handled between slices.
function work() {
  if (!running) return;
  const end = Date.now() + SLICE;
  let left = running.isPaced ? Math.max(1, PACED_SHARE * descents.get(running.names[0]).step) : Infinity;
  for (let name = nextName(); name !== undefined && left >= 1 && Date.now() < end; name = nextName(), left -= 1) move(descents.get(name));
  if (nextName() === undefined) return stop();
  postMessage({ progress: running.names.map((name) => told(descents.get(name))), isRunning: true });
  setTimeout(work, running.isPaced ? PACED_WAIT : 0);
}

function stop() {
  if (!running) return;
  const { names, finish } = running;
  running = null;
  names.forEach((name) => record(descents.get(name)));
  postMessage({ progress: names.map((name) => told(descents.get(name))), isRunning: false });
  finish();
}

const ANSWERS = {
  load(sets) {
    data = sets;
  },
  begin({ name, settings, options }) {
    stop();
    return told(begin(name, settings, options));
  },
  run({ names, until, isPaced = false }) {
    stop();
    names.forEach((name) => remember(descents.get(name)));
    return new Promise((finish) => {
      running = { names, until, isPaced, finish };
      work();
    });
  },
  retrace: ({ name }) => retrace(descents.get(name)),
  pause: stop,
  step({ name }) {
    stop();
    const descent = descents.get(name);
    remember(descent);
    move(descent);
    record(descent);
    return told(descent);
  },
  undo({ name }) {
    stop();
    const descent = descents.get(name);
    if (descent.past.length) Object.assign(descent, descent.past.pop());
    return told(descent);
  },
  paramsAt: ({ name, step }) => descents.get(name).records.find((one) => one.step === step).params,
  costsAlong({ model, params }) {
    const rows = rowsOf(data.train);
    const gradient = gradientOf(model, params, data.train, rows);
    return costsAlong(lineCost(model, params, gradient.map((g) => -g), data.train, rows));
  },
  // A step on all images: {params, gradient, cost}, with the cost before it.
  wholeStep({ model, params, rate }) {
    const rows = rowsOf(data.train);
    const sum = new Float64Array(params.length);
    const { cost } = measure(model, params, data.train, rows, sum);
    const gradient = sum.map((g) => g / rows.length);
    return { params: stepped(params, gradient, rate), gradient, cost };
  },
  // Values at parameters that are not those of a descent: after steps for one digit, or along a
  // line.
  measure: ({ model, params, set }) => measure(model, params, data[set], rowsOf(data[set])),
};

onmessage = async ({ data: { id, ask, ...rest } }) => {
  try {
    postMessage({ id, answer: await ANSWERS[ask](rest) });
  } catch (error) {
    postMessage({ id, failure: error.message });
  }
};
