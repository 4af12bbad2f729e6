// The state of the page in its address, so that a teacher can share an exercise as a link.
//
//   #lesson=3&rate=10&seed=7&step=125&digit=4
//
// Links are untrusted: a value that its field does not allow is ignored. Without an image, each step
// of the course opens with an image of its own. `label` is the digit that a drawing is meant to be.
// `answers` has a letter for each answered question.

const whole = (low, high) => ({
  read: (word) => (/^\d{1,10}$/.test(word) && Number(word) >= low && Number(word) <= high ? Number(word) : undefined),
  write: String,
});
const real = (low, high) => ({
  read: (word) => (/^\d{1,6}(\.\d{1,12})?$/.test(word) && Number(word) >= low && Number(word) <= high ? Number(word) : undefined),
  write: String,
});
const oneOf = (...choices) => ({
  read: (word) => choices.find((choice) => String(choice) === word),
  write: String,
});

// The lines of a drawing as letters: two per coordinate, four per point, with a dot between lines.
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const PAD = 280;
const POINTS = 2000;
const twoLetters = (v) => LETTERS[v >> 6] + LETTERS[v & 63];
const drawing = {
  read: (word) => {
    if (word.length > 5 * POINTS || !/^([\w-]{4})+(\.([\w-]{4})+)*$/.test(word)) return undefined;
    const lines = word.split(".").map((line) =>
      line.match(/.{4}/g).map((point) => [0, 2].map((at) => 64 * LETTERS.indexOf(point[at]) + LETTERS.indexOf(point[at + 1]))),
    );
    return lines.flat(2).every((v) => v < PAD) ? lines : undefined;
  },
  write: (lines) => lines.map((line) => line.map(([x, y]) => twoLetters(x) + twoLetters(y)).join("")).join("."),
};

export const STEPS = 20000; // maximum number of steps in an address
export const FIELDS = {
  lesson: whole(0, 11),
  lang: oneOf("en", "zh"),
  rate: real(0.001, 1000),
  batch: oneOf(0, 1, 8, 32, 128, 512),
  seed: whole(0, 2 ** 32 - 1),
  scale: real(0, 100),
  activation: oneOf("sigmoid", "tanh", "relu"),
  cost: oneOf("quadratic", "cross_entropy"),
  step: whole(0, STEPS),
  digit: whole(0, 999),
  noise: whole(1, 2 ** 32 - 1),
  drawing,
  label: whole(0, 9),
  answers: { read: (word) => (/^[a-e-]{15}$/.test(word) ? word : undefined), write: String },
  teacher: oneOf(1),
};

export const DEFAULTS = {
  lesson: 1, lang: null, rate: 3, batch: 32, seed: 0, scale: 1, activation: "sigmoid", cost: "quadratic", step: 1250,
  digit: null, noise: null, drawing: null, label: null, answers: "-".repeat(15), teacher: null,
};

// The letters of both, where one has none that of the other: Back keeps later predictions.
export const mergedAnswers = (own, others) => Array.from(own, (letter, i) => (letter === "-" ? others[i] : letter)).join("");

// The state in an address, and the ignored names.
export function readAddress(hash) {
  const state = { ...DEFAULTS };
  const ignored = [];
  if (hash.length > 6 * POINTS) return { state, ignored: ["…"] };
  for (const part of hash.replace(/^#/, "").split("&").filter(Boolean)) {
    const [name, word] = [part.split("=")[0], part.slice(part.indexOf("=") + 1)];
    const value = Object.hasOwn(FIELDS, name) && part.includes("=") ? FIELDS[name].read(word) : undefined;
    if (value === undefined) ignored.push(name.slice(0, 20));
    else state[name] = value;
  }
  return { state, ignored };
}

// Only values that differ from the defaults are written.
export function writeAddress(state) {
  const parts = Object.keys(FIELDS)
    .filter((name) => state[name] !== null && state[name] !== DEFAULTS[name])
    .map((name) => `${name}=${FIELDS[name].write(state[name])}`);
  return `#${parts.join("&")}`;
}
