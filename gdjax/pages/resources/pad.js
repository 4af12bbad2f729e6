// Where a digit is drawn, by mouse, finger or keyboard, and how the drawing becomes pixels.

// As the images of the data set were made: the ink's box scaled to 20 by 20 of 28 by 28 pixels,
// its centre of mass in the middle.
function asPixels(ink, side = 28) {
  const size = ink.width;
  const raw = ink.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, size, size).data;
  let [left, right, top, bottom] = [size, -1, size, -1];
  for (let y = 0; y < size; y += 1) {
    for (let x = 0; x < size; x += 1) {
      if (raw[4 * (y * size + x) + 3] > 20) {
        left = Math.min(left, x);
        right = Math.max(right, x);
        top = Math.min(top, y);
        bottom = Math.max(bottom, y);
      }
    }
  }
  const pixels = new Uint8Array(side * side);
  if (right < 0) return pixels;
  const step = Math.max(right - left + 1, bottom - top + 1) / ((20 / 28) * side); // ink a pixel
  // Share of ink in each pixel of the scaled box, whose middle is put in the middle for now.
  const [midX, midY] = [(left + right + 1) / 2, (top + bottom + 1) / 2];
  const place = (shiftX, shiftY) => {
    const found = new Float64Array(side * side);
    const fine = 4; // samples a pixel, each way
    for (let i = 0; i < side * fine; i += 1) {
      const y = Math.floor(midY + ((i + 0.5) / fine - side / 2 + shiftY) * step);
      if (y < 0 || y >= size) continue;
      for (let j = 0; j < side * fine; j += 1) {
        const x = Math.floor(midX + ((j + 0.5) / fine - side / 2 + shiftX) * step);
        if (x < 0 || x >= size) continue;
        found[Math.floor(i / fine) * side + Math.floor(j / fine)] += raw[4 * (y * size + x) + 3] / fine ** 2;
      }
    }
    return found;
  };
  const first = place(0, 0);
  let [mass, massX, massY] = [0, 0, 0];
  first.forEach((p, i) => {
    mass += p;
    massX += p * ((i % side) + 0.5 - side / 2);
    massY += p * (Math.floor(i / side) + 0.5 - side / 2);
  });
  const centred = place(massX / mass, massY / mass);
  return Uint8Array.from(centred, (p) => Math.min(255, Math.round(p)));
}

// The pad: calls `changed(pixels)` as the drawing grows. Returns what clears it and what shows an image.
function pad(canvas, changed) {
  const size = 280;
  const ink = element("canvas", { width: size, height: size });
  const pen = ink.getContext("2d", { willReadFrequently: true });
  Object.assign(pen, { lineWidth: 24, lineCap: "round", lineJoin: "round", strokeStyle: "#fff", fillStyle: "#fff" });
  let image = null; // of the data set, where none was drawn
  let at = [size / 2, size / 4];
  let down = false;
  let keyboard = false;

  const redraw = fitted(canvas, 1, (out, width) => {
    out.fillStyle = "#101820";
    out.fillRect(0, 0, width, width);
    out.imageSmoothingEnabled = false;
    if (image) pixelsInto(out, image, 0, 0, width);
    else out.drawImage(ink, 0, 0, width, width);
    if (keyboard) {
      out.strokeStyle = down ? "#ffb454" : "#9fd0f2";
      out.lineWidth = 3;
      out.beginPath();
      out.arc((at[0] / size) * width, (at[1] / size) * width, 12, 0, 2 * Math.PI);
      out.stroke();
    }
  });
  const soonChanged = soon(() => changed(asPixels(ink), null));

  function line(from, to) {
    image = null;
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(to[0] + 0.01, to[1]);
    pen.stroke();
    redraw();
    soonChanged();
  }
  const inInk = (event) => within(canvas, event).map((v) => (v / canvas.clientWidth) * size);

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    if (image) clear();
    keyboard = false;
    down = true;
    at = inInk(event);
    line(at, at);
    event.preventDefault();
    canvas.focus({ preventScroll: true });
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!down || keyboard || !canvas.hasPointerCapture(event.pointerId)) return;
    const next = inInk(event);
    line(at, next);
    at = next;
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => !keyboard && (down = false));
  canvas.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (!arrow && event.key !== " ") return;
    event.preventDefault();
    keyboard = true;
    if (event.key === " ") {
      if (image) clear();
      down = !down;
      if (down) line(at, at);
    } else {
      const next = [at[0] + 8 * arrow[0], at[1] - 8 * arrow[1]].map((v) => Math.min(Math.max(v, 12), size - 12));
      if (down) line(at, next);
      at = next;
    }
    redraw();
  });
  canvas.addEventListener("blur", () => {
    keyboard = down = false;
    redraw();
  });

  function clear() {
    image = null;
    pen.clearRect(0, 0, size, size);
    redraw();
    changed(new Uint8Array(28 * 28), null);
  }
  function show(pixels) {
    image = pixels;
    pen.clearRect(0, 0, size, size);
    redraw();
  }
  return { clear, show };
}

// An image of bytes as grey squares, white on dark.
function pixelsInto(pen, pixels, left, top, width) {
  squaresInto(pen, pixels, left, top, width, (p) => [16 + (p * 239) / 255, 24 + (p * 231) / 255, 32 + (p * 223) / 255]);
}

// Signed values as blue (below 0), white and red squares, on one scale.
function signedInto(pen, values, left, top, width, most) {
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
