// The page's view of the descents in the worker.
//
// The worker is created from text inside the page, since a page opened as a file cannot load files.

export function openLaboratory(source, sets, changed) {
  const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const waiting = new Map();
  const descents = {};
  let asked = 0;
  let isRunning = false;

  function keep(descents_, running) {
    for (const one of descents_) {
      // Each message brings a copy of the network; equal ones stay the same, so that no card starts anew.
      const before = descents[one.name];
      if (before?.step === one.step && one.params && before.params?.every((w, i) => w === one.params[i])) one.params = before.params;
      descents[one.name] = one;
    }
    if (running !== undefined) isRunning = running;
    changed();
  }
  worker.onmessage = ({ data }) => {
    if (data.id === undefined) return keep(data.progress, data.isRunning);
    const { resolve, reject } = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.failure === undefined) resolve(data.answer);
    else reject(new Error(data.failure));
  };
  const ask = (name, rest = {}) =>
    new Promise((resolve, reject) => {
      waiting.set((asked += 1), { resolve, reject });
      worker.postMessage({ id: asked, ask: name, ...rest });
    });
  const askAndKeep = async (name, rest) => keep([await ask(name, rest)]);

  const lit = ([name, set]) => [name, { lit: set.lit, labels: set.labels }];
  ask("load", { widths: sets.widths, ...Object.fromEntries(Object.entries(sets).filter(([name]) => name !== "widths").map(lit)) });
  return {
    descents,
    isRunning: () => isRunning,
    begin: (name, settings, options = {}) => askAndKeep("begin", { name, settings, options }),
    retrace: (name) => ask("retrace", { name }),
    wholeStep: (model, params, rate) => ask("wholeStep", { model, params, rate }),
    step: (name) => askAndKeep("step", { name }),
    undo: (name) => askAndKeep("undo", { name }),
    paramsAt: (name, step) => ask("paramsAt", { name, step }),
    costsAlong: (model, params) => ask("costsAlong", { model, params }),
    measure: (model, params, set) => ask("measure", { model, params, set }),
    pause: () => ask("pause"),
    // Resolves when each descent has reached its step in `until` or has been paused.
    run: (names, until, options = {}) => ask("run", { names, until, ...options }),
  };
}
