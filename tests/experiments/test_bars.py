"""The figure of the speed experiment."""

from experiments.benchmarks.bars import ratios


def test_bars_have_the_given_lengths_and_readable_labels():
    figure = ratios(
        {"whole_set_share": 0.7}, {"whole_set_times_torch_loop": 5.0, "trainability_times_scan": 12}
    )
    left, right = figure.axes
    assert [bar.get_width() for bar in left.patches] == [0.7]
    assert [bar.get_width() for bar in right.patches] == [5.0, 12]
    assert [t.get_text() for t in right.get_yticklabels()] == [
        "whole set: against torch loop",
        "trainability: against scan",
    ]
    figure.canvas.draw()
