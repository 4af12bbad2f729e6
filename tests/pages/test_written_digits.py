"""Digits that people wrote are read by the page as they are by the network, drawn anew, too."""

import numpy as np
import pytest
from browsing import Visit
from strokes import strokes, thinned

import gdjax as gd

DIGITS = 40
FEWER = 4  # of them: what a pen of one width makes unlike the handwriting that it follows


def test_a_thick_line_is_thinned_to_its_middle():
    ink = np.zeros((12, 12), bool)
    ink[2:10, 4:7] = True
    middle = thinned(ink)
    assert np.argwhere(middle.any(0)).ravel().tolist() == [5]
    assert middle.sum() >= 5
    (line,) = strokes(200 * ink)
    assert {round(12 * x - 0.5) for x, _ in line} == {5}
    assert len(line) == middle.sum()


@pytest.mark.long
def test_of_written_digits_as_many_are_read_when_they_are_drawn(browser, tmp_path, tiny_lesson):
    """Only here are written digits drawn with the page's pen: 1,800 moves of the mouse."""
    problem, run = tiny_lesson
    visit = Visit(browser, gd.lesson(problem, run).save(tmp_path / "lesson.html"))
    images, labels = (np.asarray(a)[:DIGITS] for a in problem.measures["test_accuracy"].data)
    by_pixel = int(np.sum(np.argmax(problem.predict(run.params, images), axis=1) == labels))
    mouse, by_stroke = visit.page.mouse, 0
    for image, label in zip(images.reshape(-1, 28, 28), labels, strict=True):
        visit.click("#clear")
        corner, end = visit.place("#pad", 0, 0), visit.place("#pad", 1, 1)
        for line in strokes(image):
            points = np.array(corner) + np.array(line) * np.subtract(end, corner)
            mouse.move(*points[0])
            mouse.down()
            for point in points[1:]:
                mouse.move(*point)
            mouse.up()
        visit.settle()
        by_stroke += visit.text("#answer").startswith(f"The network reads {label}")
    assert by_pixel > 0.7 * DIGITS
    assert by_stroke >= by_pixel - FEWER
    assert visit.complaints == []
