// The lesson put together: the stage, the digit, and everything that follows from both.

function stages() {
  const size = DATA.params.shape[1];
  return Array.from(DATA.step, (step, i) => ({ step, params: DATA.params.subarray(i * size, (i + 1) * size) }));
}

function lesson() {
  const all = stages();
  const { records } = DATA;
  const slider = byId("stage");
  const stageTold = byId("stage-told");
  const answer = byId("answer");
  const example = byId("example-told");
  slider.max = String(all.length - 1);
  slider.value = slider.max;
  let pixels = new Uint8Array(DATA.widths[0]);
  let label = null;
  let shown = -1;
  let nudged = null; // parameters after steps for one digit, until the stage or digit changes
  let nudges = 0;

  const show = diagram(byId("network"));
  const slopes = matter(byId("matter"), nudge);
  const drawing = pad(byId("pad"), (drawn) => {
    pixels = drawn;
    label = null;
    shown = -1;
    example.textContent = pixels.some((p) => p) ? "Your drawing." : "An empty image.";
    slopes.forget();
    forgetNudges();
    update();
  });

  function current() {
    const stage = all[Number(slider.value)];
    const params = nudged || stage.params;
    const layers = layersOf(params, DATA.widths);
    return { stage, params, layers, activities: forward(layers, pixels), pixels, label, nudges };
  }

  function update() {
    const now = current();
    const outputs = now.activities[now.activities.length - 1];
    const best = largest(outputs);
    show(now);
    slopes.update(now);
    const sure = Array.from(outputs).filter((a, i) => i !== best && a > 0.5 * outputs[best]).length;
    const right = label === null ? "" : best === label ? " That is right." : ` It is a ${label}.`;
    answer.textContent = pixels.some((p) => p)
      ? `The network reads ${best}${sure ? ", not sure of it" : ""}.${right}`
      : "Draw a digit, and the network reads it.";
    const i = nearest(records.step, now.stage.step);
    const accuracy = Math.round(records.accuracy[i] * DATA.tested);
    stageTold.textContent =
      `${now.stage.step === 0 ? "Before the first step: random numbers" : `After ${count(now.stage.step, "step")}`}. ` +
      `Cost ${number(records.cost[i])}; ${number(accuracy)} of ${number(DATA.tested)} test digits read.`;
    curves(now.stage.step);
  }

  // Steps from 1 on a logarithmic axis: what is learned first is learned fast.
  const x = Array.from(records.step, (s) => s + 1);
  function curves(step) {
    const marked = (y, name, share, svg) => {
      const what = {
        x: "step + 1, logarithmic", y: name, logX: true, logY: !share, share, height: 205,
        lines: [{ x, y, color: share ? "#00735a" : "#0b5d94" }], mark: step + 1, title: `${name} along the descent`,
      };
      const places = chart(svg, what);
      svg.onclick = (event) => {
        const box = svg.getBoundingClientRect();
        const at = places.placeX.back(((event.clientX - box.left) / box.width) * places.width);
        slider.value = String(nearest(all.map((s) => Math.log(s.step + 1)), Math.log(at)));
        changeStage();
      };
    };
    marked(records.cost, "training cost", false, byId("cost"));
    marked(records.accuracy, "test digits read", true, byId("accuracy"));
  }

  function nudge(gradient, rate) {
    const params = Float32Array.from(current().params, (w, i) => w - rate * gradient[i]);
    nudged = params;
    nudges += 1;
    update();
  }
  function forgetNudges() {
    nudged = null;
    nudges = 0;
  }
  function changeStage() {
    forgetNudges();
    update();
  }
  function pick(number_) {
    shown = (number_ + DATA.labels.length) % DATA.labels.length;
    const size = DATA.images.shape[1];
    pixels = DATA.images.subarray(shown * size, (shown + 1) * size);
    label = DATA.labels[shown];
    drawing.show(pixels);
    slopes.forget();
    forgetNudges();
    example.textContent = `Test digit ${shown + 1} of ${DATA.labels.length}, a ${label}.`;
    update();
  }
  slider.addEventListener("input", changeStage);
  byId("clear").addEventListener("click", drawing.clear);
  byId("next").addEventListener("click", () => pick(shown + 1));
  byId("previous").addEventListener("click", () => pick(shown < 0 ? -1 : shown - 1));
  let film = null;
  const play = byId("play");
  const stop = () => {
    clearInterval(film);
    film = null;
    play.textContent = "Watch it learn";
    play.setAttribute("aria-pressed", "false");
  };
  play.addEventListener("click", () => {
    if (film) return stop();
    slider.value = "0";
    changeStage();
    play.textContent = "Stop";
    play.setAttribute("aria-pressed", "true");
    film = setInterval(() => {
      if (slider.value === slider.max) return stop();
      slider.value = String(Number(slider.value) + 1);
      changeStage();
    }, 350);
  });
  byId("size").textContent = number(all[0].params.length);
  byId("size-again").textContent = number(all[0].params.length);
  byId("made").textContent =
    `Made by gdjax ${DATA.version} from one descent on ${DATA.set}: ${count(records.step[records.step.length - 1], "step")}, ` +
    `${count(DATA.samples, "training image")}, ${all.length} stages kept. This file needs no network.`;
  pick(0);
  return () => pixels;
}

const drawnPixels = lesson();
const ball = ballOnCurve(byId("ball"));
