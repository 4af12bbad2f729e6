"""Predictions for digits drawn on the page, compared with those for the images."""

import numpy as np
import pytest
from browsing import OpenedPage
from strokes import strokes

import gdjax as gd

SPECK = 15  # in pixels of the 280 x 280 pad; shorter lines are noise
POINTS = 0.02  # tolerated loss of accuracy, since the pen has a constant width


READ_BY_MODULE = """([lines, count]) => lesson.then((page) => {
  const { test } = page.sets;
  const readOf = (pixels) => reading(page.network(), pixels).best;
  return Array.from({ length: count }, (_, i) => [
    test.labels[i], readOf(imageAt(test, i)), readOf(pixelsOfDrawing(lines[i])),
  ]);
})"""


def on_the_pad(image):
    """Return the lines of a digit in pixels of the pad, smoothed and without specks."""
    lines = [279 * np.array(line) for line in strokes(image)]
    lengths = [np.hypot(*np.ptp(line, axis=0)) for line in lines]
    drawn = [line for line, length in zip(lines, lengths, strict=True) if length >= SPECK]
    return [smoothed(line).round().astype(int).tolist() for line in drawn or lines]


def smoothed(line):
    """Average each inner point with its neighbors, with weights 1/4, 1/2, 1/4."""
    inner = (line[:-2] + 2 * line[1:-1] + line[2:]) / 4
    return np.concatenate([line[:1], inner, line[-1:]]) if len(line) > 3 else line


@pytest.mark.long
def test_accuracy_on_drawn_digits_is_close_to_accuracy_on_their_pixels(browser, lesson_file):
    """Draw all 1,000 test digits with the code of the page, without a mouse."""
    visit = OpenedPage(browser, lesson_file)
    images = gd.data.load("mnist5k").test_images
    label, by_pixel, by_stroke = np.transpose(
        visit.page.evaluate(READ_BY_MODULE, [[*map(on_the_pad, images)], len(images)])
    )
    right_by_pixel, right_by_stroke = np.mean(by_pixel == label), np.mean(by_stroke == label)
    print(f"read by pixels {right_by_pixel:.1%}, drawn {right_by_stroke:.1%}")
    assert right_by_pixel > 0.88
    assert right_by_stroke >= right_by_pixel - POINTS
    assert visit.complaints == []
