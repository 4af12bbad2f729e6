"""Predictions for digits drawn on the page, compared with those for the images."""

import numpy as np
import pytest
from browsing import OpenedPage
from strokes import strokes, thinned

import gdjax as gd

DIGITS = 10
SPECK = 15  # in pixels of the 280 x 280 pad; shorter lines are noise
POINTS = 0.02  # tolerated loss of accuracy, since the pen has a constant width


def test_a_thick_line_is_thinned_to_its_center():
    ink = np.zeros((12, 12), bool)
    ink[2:10, 4:7] = True
    middle = thinned(ink)
    assert np.argwhere(middle.any(0)).ravel().tolist() == [5]
    assert middle.sum() >= 5
    (line,) = strokes(200 * ink)
    assert {round(12 * x - 0.5) for x, _ in line} == {5}
    assert len(line) == middle.sum()


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


@pytest.mark.long
def test_digits_drawn_with_the_mouse_have_the_lines_of_the_mouse_path(browser, lesson_file):
    """Draw ten test digits, which takes about 400 mouse moves."""
    visit = OpenedPage(browser, lesson_file)
    images = gd.data.load("mnist5k").test_images[:DIGITS]
    mouse = visit.page.mouse
    for image in images:
        visit.click("#clear")
        visit.settle()
        corner, end = visit.place("#pad", 0, 0), visit.place("#pad", 1, 1)
        lines = on_the_pad(image)
        for line in lines:
            points = np.array(corner) + (np.array(line) + 0.01) / 280 * np.subtract(end, corner)
            mouse.move(*points[0])
            mouse.down()
            for point in points[1:]:
                mouse.move(*point)
            mouse.up()
        visit.settle()
        visit.settle()
        drawn = visit.page.evaluate("async () => (await lesson).state.drawing")
        assert len(drawn) == len(lines)
        for summary, meant in zip(drawn, lines, strict=True):
            np.testing.assert_allclose(summary, meant, atol=1)
    assert visit.complaints == []
