// The network's arithmetic, in float64.
//
//   a_0 = pixels / 255,   a_l = s(W_l a_{l-1} + b_l),   C = mean over images of c(a_L, label)
//
// A model defines the computation: {widths, activation, cost}. Parameters are one array, in gdjax's
// order: for each layer its weights [to, from], then its biases.

// For each activation: its value, its slope as a function of the value, and whether it is so flat
// that its neuron hardly learns.
export const ACTIVATIONS = {
  sigmoid: {
    value: (z) => 1 / (1 + Math.exp(-z)),
    slope: (a) => a * (1 - a),
    isSaturated: (a) => a < 0.01 || a > 0.99,
  },
  tanh: { value: Math.tanh, slope: (a) => 1 - a * a, isSaturated: (a) => Math.abs(a) > 0.99 },
  relu: { value: (z) => Math.max(z, 0), slope: (a) => (a > 0 ? 1 : 0), isSaturated: (a) => a === 0 },
  identity: { value: (z) => z, slope: () => 1, isSaturated: () => false },
};

// For each cost: its value for one image, and its slope along each output.
export const COSTS = {
  quadratic: {
    value: (outputs, label) => outputs.reduce((sum, a, i) => sum + (a - (i === label ? 1 : 0)) ** 2, 0),
    slope: (outputs, label) => outputs.map((a, i) => 2 * (a - (i === label ? 1 : 0))),
  },
  cross_entropy: {
    value: (outputs, label) => {
      const most = Math.max(...outputs);
      return most + Math.log(outputs.reduce((sum, a) => sum + Math.exp(a - most), 0)) - outputs[label];
    },
    slope: (outputs, label) => softmax(outputs).map((p, i) => p - (i === label ? 1 : 0)),
  },
};

// The parts of a cost that the ten outputs of an answer add up to. The cross-entropy of a softmax has
// one part; the binary cross-entropy is that of ten separate outputs between 0 and 1.
export const PARTS = {
  quadratic: (outputs, label) => Array.from(outputs, (a, i) => (a - (i === label ? 1 : 0)) ** 2),
  binary: (outputs, label) => Array.from(outputs, (a, i) => -Math.log(i === label ? a : 1 - a)),
  cross_entropy: (outputs, label) => Array.from(outputs, (_, i) => (i === label ? COSTS.cross_entropy.value(outputs, label) : 0)),
};

export function softmax(logits) {
  const most = Math.max(...logits);
  const parts = logits.map((z) => Math.exp(z - most));
  const sum = parts.reduce((total, part) => total + part, 0);
  return parts.map((part) => part / sum);
}

export function largest(values) {
  let best = 0;
  for (let i = 1; i < values.length; i += 1) if (values[i] > values[best]) best = i;
  return best;
}

export function parameterCount(widths) {
  return widths.slice(1).reduce((sum, to, l) => sum + to * (widths[l] + 1), 0);
}

// Layers as views of the parameters. Outputs of a cross-entropy are logits.
export function layersOf(model, params) {
  const last = model.widths.length - 1;
  let begin = 0;
  return model.widths.slice(1).map((to, l) => {
    const from = model.widths[l];
    const layer = {
      from,
      to,
      begin,
      weights: params.subarray(begin, begin + to * from),
      bias: params.subarray(begin + to * from, begin + to * (from + 1)),
      activation: ACTIVATIONS[l + 1 === last && model.cost === "cross_entropy" ? "identity" : model.activation],
    };
    begin += to * (from + 1);
    return layer;
  });
}

// The nonzero pixels of images; the others, 81 % of all, add nothing to the sums.
export function litPixels(images, size) {
  const count = images.length / size;
  const begins = new Uint32Array(count + 1);
  const positions = [];
  const values = [];
  for (let i = 0; i < count; i += 1) {
    for (let j = 0; j < size; j += 1) {
      if (!images[i * size + j]) continue;
      positions.push(j);
      values.push(images[i * size + j] / 255);
    }
    begins[i + 1] = positions.length;
  }
  return { count, begins, positions: Uint16Array.from(positions), values: Float64Array.from(values) };
}

// Activations of all layers but the first, for image `row`.
export function forward(layers, lit, row = 0) {
  return afterFirst(layers.slice(1), afterPixels(layers[0], lit, row));
}

// Activations of layers, preceded by those of the first hidden layer.
export function afterFirst(layers, first) {
  const activities = [first];
  for (const { from, to, weights, bias, activation } of layers) {
    const before = activities.at(-1);
    const after = new Float64Array(to);
    for (let i = 0; i < to; i += 1) {
      let z = bias[i];
      for (let j = 0; j < from; j += 1) z += weights[i * from + j] * before[j];
      after[i] = activation.value(z);
    }
    activities.push(after);
  }
  return activities;
}

function afterPixels({ from, to, weights, bias, activation }, { begins, positions, values }, row) {
  const after = new Float64Array(to);
  const [begin, end] = [begins[row], begins[row + 1]];
  for (let i = 0; i < to; i += 1) {
    const start = i * from;
    let z = bias[i];
    for (let k = begin; k < end; k += 1) z += weights[start + positions[k]] * values[k];
    after[i] = activation.value(z);
  }
  return after;
}

// Adds the gradient of one image's cost: backpropagation.
export function addGradient(gradient, model, layers, lit, row, activities, label) {
  let outer = COSTS[model.cost].slope(activities.at(-1), label);
  for (let l = layers.length - 1; l >= 0; l -= 1) {
    const { from, to, begin, weights, activation } = layers[l];
    const deltas = outer.map((slope, i) => slope * activation.slope(activities[l][i]));
    deltas.forEach((delta, i) => (gradient[begin + to * from + i] += delta));
    if (!l) return addPixels(gradient, deltas, from, lit, row);
    const before = activities[l - 1];
    outer = new Float64Array(from);
    for (let i = 0; i < to; i += 1) {
      const start = i * from;
      for (let j = 0; j < from; j += 1) {
        gradient[begin + start + j] += deltas[i] * before[j];
        outer[j] += deltas[i] * weights[start + j];
      }
    }
  }
}

// The gradient of the first layer: the image times one number for each neuron.
function addPixels(gradient, deltas, from, { begins, positions, values }, row) {
  const [begin, end] = [begins[row], begins[row + 1]];
  for (let i = 0; i < deltas.length; i += 1) {
    const [start, delta] = [i * from, deltas[i]];
    for (let k = begin; k < end; k += 1) gradient[start + positions[k]] += delta * values[k];
  }
}

// Whether outputs, or their softmax, are between 0 and 1.
export const isShare = ({ activation, cost }) => cost === "cross_entropy" || activation === "sigmoid";

// An answer, with its outputs, or their softmax; each output of a quadratic cost rates its digit
// independently. Equal outputs are no answer.
export function answerOf(model, outputs) {
  const sure = model.cost === "cross_entropy" ? softmax(outputs) : outputs;
  const [best, second] = Array.from(sure.keys()).sort((a, b) => sure[b] - sure[a] || a - b);
  return { best, second, sure, isClear: sure[best] >= 0.5, isTied: sure[best] === sure[second], isBroken: !sure.every(Number.isFinite) };
}

// The parameter with the number `at`: {layer, to, from}, without `from` for a bias.
export function parameterAt(layers, at) {
  const layer = layers.findIndex(({ begin, to, from }) => at < begin + to * (from + 1));
  const { begin, to, from } = layers[layer];
  const place = at - begin;
  if (place >= to * from) return { layer, to: place - to * from };
  return { layer, to: Math.floor(place / from), from: place % from };
}
