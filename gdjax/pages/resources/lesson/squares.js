// Images as squares of color.

import { SIGNED, element, rgb } from "../base.js";

// An image of bytes as gray squares, white on dark.
export function pixelsInto(pen, pixels, left, top, width) {
  squaresInto(pen, pixels, left, top, width, (p) => [16 + (p * 239) / 255, 24 + (p * 231) / 255, 32 + (p * 223) / 255]);
}

// Signed values as blue (below 0), white and red squares, on one scale.
export function signedInto(pen, values, left, top, width, most) {
  squaresInto(pen, values, left, top, width, (v) => rgb(SIGNED, 0.5 + v / (2 * most || 1)));
}

function squaresInto(pen, values, left, top, width, color) {
  const side = Math.round(Math.sqrt(values.length));
  const small = element("canvas", { width: side, height: side });
  const inner = small.getContext("2d");
  const image = inner.createImageData(side, side);
  values.forEach((v, i) => image.data.set([...color(v), 255], 4 * i));
  inner.putImageData(image, 0, 0);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(small, left, top, width, width);
}
