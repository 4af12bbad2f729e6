// The network's arithmetic, in float64: outputs, and the slopes of the cost of one digit.

const sigmoid = (z) => 1 / (1 + Math.exp(-z));

// Parameters in the order in which they are kept: weights [to, from] and biases of each layer.
function layersOf(params, widths) {
  const layers = [];
  let begin = 0;
  for (let l = 1; l < widths.length; l += 1) {
    const [from, to] = [widths[l - 1], widths[l]];
    const weights = params.subarray(begin, begin + to * from);
    const bias = params.subarray(begin + to * from, begin + to * from + to);
    layers.push({ from, to, weights, bias, begin });
    begin += to * (from + 1);
  }
  return layers;
}

// Activities of every layer, inputs first. Pixels are bytes.
function forward(layers, pixels) {
  const activities = [Float64Array.from(pixels, (p) => p / 255)];
  for (const { from, to, weights, bias } of layers) {
    const a = activities[activities.length - 1];
    const next = new Float64Array(to);
    for (let i = 0; i < to; i += 1) {
      let z = bias[i];
      for (let j = 0; j < from; j += 1) z += weights[i * from + j] * a[j];
      next[i] = sigmoid(z);
    }
    activities.push(next);
  }
  return activities;
}

function costOf(outputs, target) {
  return outputs.reduce((sum, a, i) => sum + (a - (i === target ? 1 : 0)) ** 2, 0);
}

// Slope of the cost of one digit along every parameter, in the order of the parameters.
function gradient(layers, activities, target) {
  const last = layers[layers.length - 1];
  const slopes = new Float64Array(last.begin + last.to * (last.from + 1));
  let outer = activities[activities.length - 1].map((a, i) => 2 * (a - (i === target ? 1 : 0)));
  for (let l = layers.length - 1; l >= 0; l -= 1) {
    const { from, to, weights, begin } = layers[l];
    const [before, after] = [activities[l], activities[l + 1]];
    const inner = new Float64Array(from);
    for (let i = 0; i < to; i += 1) {
      const delta = outer[i] * after[i] * (1 - after[i]);
      slopes[begin + to * from + i] = delta;
      for (let j = 0; j < from; j += 1) {
        slopes[begin + i * from + j] = delta * before[j];
        inner[j] += delta * weights[i * from + j];
      }
    }
    outer = inner;
  }
  return slopes;
}

function largest(values) {
  let best = 0;
  for (let i = 1; i < values.length; i += 1) if (values[i] > values[best]) best = i;
  return best;
}

// How sure an answer is, on the outputs' own scale: each output says of its digit alone how much
// it is one, and they need not add up to one.
function answerOf(outputs) {
  const [best, second] = Array.from(outputs.keys()).sort((a, b) => outputs[b] - outputs[a]);
  return { best, second, isClear: outputs[best] >= 0.5 };
}

// What the parameter number `at` is, in words.
function parameterName(layers, at) {
  const l = layers.findIndex(({ begin, to, from }) => at < begin + to * (from + 1));
  const { begin, to, from } = layers[l];
  const here = at - begin;
  const names = (layer, i) => {
    if (layer === 0) {
      const side = Math.round(Math.sqrt(layers[0].from));
      return `pixel (${Math.floor(i / side)}, ${i % side})`;
    }
    return layer === layers.length ? `output ${i}` : `neuron ${i} of hidden layer ${layer}`;
  };
  if (here >= to * from) return `bias of ${names(l + 1, here - to * from)}`;
  return `weight from ${names(l, here % from)} to ${names(l + 1, Math.floor(here / from))}`;
}
