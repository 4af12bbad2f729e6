// The network as a picture: the image, the layers as columns of circles that light up, and lines
// that are as strong as what runs along them.

function diagram(canvas) {
  let now = null; // {layers, activities, pixels}
  const redraw = fitted(canvas, (width) => Math.max(330, Math.min(460, width * 0.62)), (pen, width, height) => {
    if (now) draw(pen, width, height);
  });

  function draw(pen, width, height) {
    const { layers, activities, pixels } = now;
    const narrow = width < 480;
    const image = narrow ? 74 : Math.min(150, width * 0.2);
    const columns = layers.length;
    const first = image + (narrow ? 34 : 70);
    const lastAt = width - (narrow ? 62 : 130);
    const across = (l) => first + (l / (columns - 1)) * (lastAt - first);
    const radius = (l) => Math.min(l === columns - 1 ? 14 : 11, (height - 20) / layers[l].to / 2 - 1.5);
    const down = (l, i) => {
      const room = l === columns - 1 ? Math.min(height - 30, layers[l].to * 36) : height - 26;
      return height / 2 + ((i + 0.5) / layers[l].to - 0.5) * room;
    };
    const topOfImage = (height - image) / 2;
    // From the image to the first layer: one fan a neuron, as strong as the neuron is active.
    layers[0].bias.forEach((_, i) => {
      pen.strokeStyle = `rgb(83 93 108 / ${0.06 + 0.35 * activities[1][i]})`;
      pen.lineWidth = 1;
      for (const share of [0.08, 0.36, 0.64, 0.92]) {
        pen.beginPath();
        pen.moveTo(image + 3, topOfImage + share * image);
        pen.lineTo(across(0), down(0, i));
        pen.stroke();
      }
    });
    for (let l = 1; l < columns; l += 1) {
      const { from, to, weights } = layers[l];
      let most = 1e-9;
      for (let k = 0; k < weights.length; k += 1) most = Math.max(most, Math.abs(weights[k]) * activities[l][k % from]);
      for (let i = 0; i < to; i += 1) {
        for (let j = 0; j < from; j += 1) {
          const flow = (weights[i * from + j] * activities[l][j]) / most;
          const strength = Math.abs(flow);
          if (strength < 0.02) continue;
          pen.strokeStyle = `rgb(${flow > 0 ? "179 66 10" : "11 93 148"} / ${0.08 + 0.8 * strength})`;
          pen.lineWidth = 0.5 + 2.2 * strength;
          pen.beginPath();
          pen.moveTo(across(l - 1), down(l - 1, j));
          pen.lineTo(across(l), down(l, i));
          pen.stroke();
        }
      }
    }
    pixelsInto(pen, pixels, 0, topOfImage, image);
    pen.textBaseline = "middle";
    const best = largest(activities[columns]);
    for (let l = 0; l < columns; l += 1) {
      for (let i = 0; i < layers[l].to; i += 1) {
        const a = activities[l + 1][i];
        const [x, y] = [across(l), down(l, i)];
        const output = l === columns - 1;
        pen.beginPath();
        pen.arc(x, y, radius(l), 0, 2 * Math.PI);
        pen.fillStyle = css(rgb(["#ffffff", "#f6d8a8", "#e6993c", "#b3420a"], a));
        pen.fill();
        pen.lineWidth = output && i === best ? 3 : 1;
        pen.strokeStyle = "#1d2530";
        pen.stroke();
        if (!output) continue;
        pen.fillStyle = "#1d2530";
        pen.font = `${i === best ? 700 : 500} ${narrow ? 15 : 19}px Inter, system-ui, sans-serif`;
        pen.fillText(String(i), x + radius(l) + 8, y);
        if (!narrow) {
          const room = width - x - radius(l) - 34;
          pen.fillStyle = "#e9e5dc";
          pen.fillRect(x + radius(l) + 28, y - 5, room, 10);
          pen.fillStyle = i === best ? "#b3420a" : "#868d98";
          pen.fillRect(x + radius(l) + 28, y - 5, room * a, 10);
        }
      }
    }
    const widths = [pixels.length, ...layers.map((layer) => layer.to)];
    pen.fillStyle = "#535d6c";
    pen.font = "13px Inter, system-ui, sans-serif";
    pen.textAlign = "center";
    pen.fillText(`${widths[0]}`, image / 2, topOfImage + image + 14);
    pen.textAlign = "left";
    canvas.setAttribute(
      "aria-label",
      `Network ${widths.join(" to ")}. Outputs: ${Array.from(activities[columns], (a, i) => `${i}: ${percent(a)}`).join(", ")}`,
    );
  }
  return (next) => {
    now = next;
    redraw();
  };
}
