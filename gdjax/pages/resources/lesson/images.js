// Images and texts of the page, which are deflated bytes in base64. They are inflated by DecompressionStream
// and not by a canvas, whose pixels some browsers change to protect privacy.

import { litPixels } from "./network.js";

export async function inflated(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

export const inflatedText = async (base64) => new TextDecoder().decode(await inflated(base64));

// A set of images with their labels and lists of nonzero pixels.
export async function imageSet({ images, labels, size }) {
  const pixels = await inflated(images);
  return { pixels, size, labels: await inflated(labels), lit: litPixels(pixels, size) };
}

export const imageAt = ({ pixels, size }, i) => pixels.subarray(i * size, (i + 1) * size);
