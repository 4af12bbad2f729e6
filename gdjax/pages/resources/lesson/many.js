// Many trained networks that classify one image.
//
// Their weights are quantized: w = scale · byte for each neuron, with biases in single precision.

import { forward, largest, layersOf, litPixels } from "./network.js";

// Parameters of each network, from the bytes, scales and biases of all networks.
export function networksOf({ count, bytes, scales, biases }, widths) {
  const signed = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  let [byte, neuron] = [0, 0];
  return Array.from({ length: count }, () => {
    const params = [];
    for (let l = 1; l < widths.length; l += 1) {
      const bias = [];
      for (let i = 0; i < widths[l]; i += 1, neuron += 1) {
        for (let j = 0; j < widths[l - 1]; j += 1, byte += 1) params.push(scales[neuron] * signed[byte]);
        bias.push(biases[neuron]);
      }
      params.push(...bias);
    }
    return Float64Array.from(params);
  });
}

// The image, moved by whole pixels.
export function shifted(pixels, [right, down]) {
  const side = Math.round(Math.sqrt(pixels.length));
  return pixels.map((_, at) => {
    const [x, y] = [(at % side) - right, Math.floor(at / side) - down];
    return x >= 0 && x < side && y >= 0 && y < side ? pixels[y * side + x] : 0;
  });
}

export function answersOf(networks, model, pixels) {
  const lit = litPixels(pixels, pixels.length);
  return networks.map((params) => largest(forward(layersOf(model, params), lit).at(-1)));
}
