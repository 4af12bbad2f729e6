// Many trained networks classify one image: how many agree?

import { byId, element, fitted, rgb, css } from "../base.js";
import { answersOf, shifted } from "./many.js";
import { largest } from "./network.js";
import { classOf, rangesOf, showQuestion } from "./question.js";
import { pixelsInto } from "./squares.js";
import { say, text } from "./text.js";

const AGREE_LIMITS = [0.6, 0.8, 0.95];

export function voteCard(page, networks, model) {
  let shift = [4, -1]; // the step opens with a digit that is not where digits are
  let image = null; // key of the image
  let isAnswered = false;
  const outputs = page.sets.widths.at(-1);
  const moved = () => shifted(page.image().pixels, shift);
  const votes = (pixels) => {
    const counts = new Array(outputs).fill(0);
    for (const answer of answersOf(networks, model, pixels)) counts[answer] += 1;
    return counts;
  };
  const redrawImage = fitted(byId("vote-image"), 1, (pen, width) => page.image() && pixelsInto(pen, moved(), 0, 0, width));
  const bars = Array.from({ length: outputs }, (_, digit) => {
    const bar = element("i");
    const count = element("span");
    byId("vote-bars").append(element("li", {}, element("b", { textContent: String(digit) }), bar, count));
    return { bar, count };
  });

  function shiftWords() {
    const [right, down] = shift;
    if (!right && !down) return text("vote.plain");
    return text("vote.shifted", {
      across: text(right < 0 ? "vote.horizontal.left" : "vote.horizontal.right", { count: Math.abs(right) }),
      along: text(down < 0 ? "vote.vertical.up" : "vote.vertical.down", { count: Math.abs(down) }),
    });
  }
  function ask() {
    isAnswered = false;
    const pixels = moved();
    showQuestion(byId("vote-question"), {
      ask: text("vote.ask", { count: networks.length }),
      choices: rangesOf(AGREE_LIMITS, (share) => `${Math.round(100 * share)} %`),
      pictures: [{ words: shiftWords(), draw: (pen, width) => pixelsInto(pen, pixels, 0, 0, width) }],
      async answer() {
        const counts = votes(pixels);
        const best = largest(counts);
        isAnswered = true;
        show();
        return {
          right: classOf(counts[best] / networks.length, AGREE_LIMITS),
          words: text("vote.answer", { agree: counts[best], all: networks.length, best, count: counts.filter((n) => n > 0).length }),
        };
      },
    });
    show();
  }
  function show() {
    const counts = votes(moved());
    bars.forEach(({ bar, count }, digit) => {
      const share = isAnswered ? counts[digit] / networks.length : 0;
      bar.style.width = `${100 * share}%`;
      bar.style.background = css(rgb(["#868d98", "#b3420a"], share));
      count.textContent = isAnswered ? String(counts[digit]) : "";
    });
    say("vote-told", shiftWords());
    redrawImage();
  }
  const move = (right, down) => {
    shift = right || down ? [shift[0] + right, shift[1] + down] : [0, 0];
    ask();
  };
  for (const [id, right, down] of [["left", -1, 0], ["right", 1, 0], ["up", 0, -1], ["down", 0, 1], ["center", 0, 0]]) {
    byId(`vote-${id}`).addEventListener("click", () => move(right, down));
  }
  return {
    update() {
      if (image === page.image().key) return;
      image = page.image().key;
      ask();
    },
  };
}
