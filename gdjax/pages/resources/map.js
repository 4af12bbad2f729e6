// A map of cells: any value over two axes, with outcomes as marks and a cursor for pointer and
// keyboard.

const MARKS = { __proto__: null, diverged: "×", stalled: "○", converged: "✓", "not finished": "·" };

// `look()` describes what to draw: {columns, rows, nameX, nameY, value(i, j), color(i, j),
// mark(i, j), bold(i, j), hatch(i, j), hint(i, j)}; `pick(cells, more)` is called for a click, the end of a drag or Enter, and
// `say(text)` with the hint of the cell that a click, a tap or an arrow key reaches.
function cellMap(canvas, look, pick, say) {
  let cursor = [0, 0];
  let focused = false;
  let box = null;
  let dragged = null; // the cells at the start and end of a drag

  const redraw = fitted(
    canvas,
    (width) => {
      const { columns, rows } = look();
      const cell = (width - 84) / columns.length;
      return 14 + 52 + Math.min(Math.max(rows.length * Math.min(cell, 46), rows.length > 1 ? 240 : 60), 460);
    },
    (pen, width, height) => {
      const seen = look();
      const { columns, rows } = seen;
      cursor = [Math.min(cursor[0], columns.length - 1), Math.min(cursor[1], rows.length - 1)];
      pen.font = "12px Inter, system-ui, sans-serif";
      const widestRow = Math.max(...rows.map((text) => pen.measureText(text).width));
      const left = Math.max(72, Math.min(widestRow + 36, width / 3)); // room for the rotated name
      const [top, wide, high] = [14, (width - left - 12) / columns.length, (height - 14 - 52) / rows.length];
      box = { left, top, wide, high };
      seen.place(left, wide * columns.length);
      const down = (j) => top + (rows.length - 1 - j) * high;
      const gap = wide > 8 && high > 8 ? 1 : 0;
      pen.textAlign = "center";
      pen.textBaseline = "middle";
      if (!gap) drawCells(pen, seen, left, top, wide, high);
      for (let i = 0; gap && i < columns.length; i += 1) {
        for (let j = 0; j < rows.length; j += 1) {
          const [x, y] = [left + i * wide, down(j)];
          const color = seen.color(i, j);
          pen.fillStyle = css(color);
          pen.fillRect(x, y, wide - gap, high - gap);
          const mark = seen.mark(i, j);
          if (mark && wide > 7 && high > 7) {
            pen.fillStyle = bright(color) ? "#1d2530" : "#ffffff";
            pen.font = `600 ${Math.min(wide, high, 26) * 0.72}px Inter, system-ui, sans-serif`;
            pen.fillText(mark, x + (wide - gap) / 2, y + (high - gap) / 2 + 1);
          }
          if (seen.hatch(i, j)) hatch(pen, x, y, wide - gap, high - gap, bright(color));
        }
      }
      const frame = (i, j, color, thick) => {
        pen.strokeStyle = "#ffffff";
        pen.lineWidth = thick + 2;
        pen.strokeRect(left + i * wide, down(j), wide - gap, high - gap);
        pen.strokeStyle = color;
        pen.lineWidth = thick;
        pen.strokeRect(left + i * wide, down(j), wide - gap, high - gap);
      };
      // The frames of one color are one path, which is faster than many.
      const frames = { brushed: ["#1d2530", 1.6], chosen: ["#b3420a", 3.5] };
      for (const [kind, [color, thick]] of Object.entries(frames)) {
        const path = new Path2D();
        for (let i = 0; i < columns.length; i += 1) {
          for (let j = 0; j < rows.length; j += 1) {
            if ((gap || kind === "chosen") && seen.bold(i, j) === kind) path.rect(left + i * wide, down(j), wide - gap, high - gap);
          }
        }
        pen.strokeStyle = "#ffffff";
        pen.lineWidth = thick + 2;
        pen.stroke(path);
        pen.strokeStyle = color;
        pen.lineWidth = thick;
        pen.stroke(path);
      }
      if (focused) frame(...cursor, "#e08a00", 2.5);
      if (dragged) {
        const [least, most] = corners(dragged);
        pen.strokeStyle = "#e08a00";
        pen.lineWidth = 2.5;
        pen.strokeRect(left + least[0] * wide, down(most[1]), (most[0] - least[0] + 1) * wide - gap, (most[1] - least[1] + 1) * high - gap);
      }
      pen.fillStyle = "#535d6c";
      pen.font = "12px Inter, system-ui, sans-serif";
      const widest = Math.max(...columns.map((text) => pen.measureText(text).width));
      const everyX = Math.max(1, Math.ceil((widest + 14) / wide));
      columns.forEach((text, i) => i % everyX || pen.fillText(text, left + (i + 0.5) * wide, height - 38));
      pen.textAlign = "right";
      const everyY = Math.max(1, Math.ceil(15 / high));
      rows.forEach((text, j) => j % everyY || pen.fillText(text, left - 8, down(j) + high / 2));
      pen.fillStyle = "#1d2530";
      pen.font = "13px Inter, system-ui, sans-serif";
      pen.textAlign = "center";
      pen.fillText(seen.nameX, left + (columns.length * wide) / 2, height - 14);
      pen.save();
      pen.translate(12, top + (rows.length * high) / 2);
      pen.rotate(-Math.PI / 2);
      pen.fillText(seen.nameY, 0, 0);
      pen.restore();
    },
  );

  function cellAt(event) {
    const { columns, rows } = look();
    const [x, y] = within(canvas, event);
    const i = Math.floor((x - box.left) / box.wide);
    const j = rows.length - 1 - Math.floor((y - box.top) / box.high);
    return i >= 0 && i < columns.length && j >= 0 && j < rows.length ? [i, j] : null;
  }
  const redrawSoon = soon(redraw);
  canvas.addEventListener("pointerdown", (event) => {
    const cell = event.pointerType === "touch" ? null : cellAt(event);
    dragged = cell && [cell, cell];
  });
  canvas.addEventListener("pointermove", (event) => {
    const cell = cellAt(event);
    if (!event.buttons) dragged = null;
    if (dragged && cell && String(cell) !== String(dragged[1])) {
      dragged = [dragged[0], cell];
      redrawSoon();
    }
    tip(cell && look().hint(...cell), event);
  });
  canvas.addEventListener("pointerleave", (event) => tip(null, event));
  canvas.addEventListener("click", (event) => {
    const cell = cellAt(event) ?? dragged?.[1];
    const [least, most] = cell ? corners([dragged?.[0] ?? cell, cell]) : [];
    dragged = null;
    if (!cell) return;
    cursor = cell;
    say(look().hint(...cell));
    const cells = [];
    for (let i = least[0]; i <= most[0]; i += 1) for (let j = least[1]; j <= most[1]; j += 1) cells.push([i, j]);
    pick(cells, event.shiftKey);
  });
  canvas.addEventListener("focus", () => {
    focused = canvas.matches(":focus-visible");
    redraw();
  });
  canvas.addEventListener("blur", () => {
    focused = false;
    redraw();
  });
  canvas.addEventListener("keydown", (event) => {
    const { columns, rows } = look();
    const arrow = ARROWS[event.key];
    if (arrow) {
      focused = true;
      cursor = [
        Math.min(Math.max(cursor[0] + arrow[0], 0), columns.length - 1),
        Math.min(Math.max(cursor[1] + arrow[1], 0), rows.length - 1),
      ];
      say(look().hint(...cursor));
      redraw();
    } else if (event.key === "Enter" || event.key === " ") pick([cursor], event.shiftKey);
    else return;
    event.preventDefault();
  });
  return redraw;
}

// The corners of a rectangle with two cells at opposite corners.
const corners = ([a, b]) => [a.map((v, k) => Math.min(v, b[k])), a.map((v, k) => Math.max(v, b[k]))];

// Draws small cells as one image, in which cells without brushed runs are pale.
function drawCells(pen, seen, left, top, wide, high) {
  const [nx, ny] = [seen.columns.length, seen.rows.length];
  const small = element("canvas", { width: nx, height: ny });
  const image = new ImageData(nx, ny);
  const pale = seen.isBrushing();
  for (let i = 0; i < nx; i += 1) {
    for (let j = 0; j < ny; j += 1) image.data.set([...seen.color(i, j), pale && !seen.bold(i, j) ? 70 : 255], 4 * ((ny - 1 - j) * nx + i));
  }
  small.getContext("2d").putImageData(image, 0, 0);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(small, left, top, nx * wide, ny * high);
}

function hatch(pen, x, y, wide, high, isBright) {
  pen.save();
  pen.beginPath();
  pen.rect(x, y, wide, high);
  pen.clip();
  pen.strokeStyle = isBright ? "rgb(29 37 48 / 55%)" : "rgb(255 255 255 / 65%)";
  pen.lineWidth = 1;
  pen.beginPath();
  for (let shift = -high; shift < wide; shift += 6) {
    pen.moveTo(x + shift, y + high);
    pen.lineTo(x + shift + high, y);
  }
  pen.stroke();
  pen.restore();
}

// A band of colors with the numbers at its ends.
function colorBar(canvas, color, texts) {
  return fitted(canvas, () => 34, (pen, width) => {
    for (let x = 0; x < width; x += 1) {
      pen.fillStyle = css(color(x / (width - 1)));
      pen.fillRect(x, 0, 1.5, 12);
    }
    pen.fillStyle = "#535d6c";
    pen.font = "12px Inter, system-ui, sans-serif";
    pen.textBaseline = "top";
    texts().forEach((text, i, all) => {
      const share = all.length > 1 ? i / (all.length - 1) : 0;
      pen.textAlign = i === 0 ? "left" : i === all.length - 1 ? "right" : "center";
      pen.fillText(text, share * width, 17);
    });
  });
}
