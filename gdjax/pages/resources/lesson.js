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
  let nudged = []; // parameters after each step for one digit, until the stage or digit changes

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
    const params = nudged.at(-1) || stage.params;
    const layers = layersOf(params, DATA.widths);
    return { stage, params, layers, activities: forward(layers, pixels), pixels, label, nudges: nudged.length };
  }

  function update() {
    const now = current();
    const outputs = now.activities[now.activities.length - 1];
    const { best, second, isClear } = answerOf(outputs);
    show(now);
    slopes.update(now);
    const right = label === null ? "" : best === label ? " That is right." : ` It is a ${label}.`;
    answer.textContent = pixels.some((p) => p)
      ? `The network reads ${best}: output ${percent(outputs[best])}, then ${second} with ${percent(outputs[second])}.` +
        `${isClear ? "" : " No output reaches 50 %: it is not sure."}${right}`
      : "Draw a digit, and the network reads it.";
    stageTold.textContent = now.nudges ? nudgedNumbers(now) : recordedNumbers(now.stage.step);
    byId("undo").disabled = !now.nudges;
    curves(now.stage.step);
  }

  function recordedNumbers(step) {
    const i = nearest(records.step, step);
    const right = Math.round(records.accuracy[i] * DATA.tested);
    return (
      `${step === 0 ? "Before the first step: random numbers" : `After ${count(step, "step")}`}. ` +
      `Cost ${number(records.cost[i])}; ${number(right)} of ${number(DATA.tested)} test digits read.`
    );
  }

  // No record is of a network that steps for one digit have changed: its numbers are computed.
  function nudgedNumbers({ stage, layers, nudges }) {
    const shown = DATA.labels.length;
    const outputs = Array.from(DATA.labels, (_, i) => forward(layers, imageAt(i)).at(-1));
    const right = outputs.filter((a, i) => largest(a) === DATA.labels[i]).length;
    const cost = outputs.reduce((sum, a, i) => sum + costOf(a, DATA.labels[i]), 0) / shown;
    return (
      `After ${count(stage.step, "step")} and ${count(nudges, "step")} for one digit alone. ` +
      `${number(right)} of the ${count(shown, "test digit")} in this page read; their cost ${number(cost)}. ` +
      `The curves are of the descent without ${nudges === 1 ? "this step" : "these steps"}.`
    );
  }

  function imageAt(i) {
    const size = DATA.images.shape[1];
    return DATA.images.subarray(i * size, (i + 1) * size);
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
    nudged.push(params);
    update();
  }
  function undo() {
    nudged.pop();
    update();
  }
  function forgetNudges() {
    nudged = [];
  }
  function changeStage() {
    forgetNudges();
    update();
  }
  function pick(number_) {
    shown = (number_ + DATA.labels.length) % DATA.labels.length;
    label = DATA.labels[shown];
    example.textContent = `Test digit ${shown + 1} of ${DATA.labels.length}, a ${label}.`;
    showImage(imageAt(shown));
  }
  function noise() {
    shown = -1;
    label = null;
    example.textContent = "Noise: every pixel is drawn at random. It is no digit.";
    showImage(Uint8Array.from({ length: DATA.widths[0] }, () => Math.floor(256 * Math.random())));
  }
  function showImage(image) {
    pixels = image;
    drawing.show(pixels);
    slopes.forget();
    forgetNudges();
    update();
  }
  slider.addEventListener("input", changeStage);
  byId("clear").addEventListener("click", drawing.clear);
  byId("next").addEventListener("click", () => pick(shown + 1));
  byId("noise").addEventListener("click", noise);
  byId("undo").addEventListener("click", undo);
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
