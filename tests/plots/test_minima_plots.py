"""Figures of minima and their counts: the drawn values equal the arguments."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import gdjax as gd
from gdjax.plots import graph, minima


def census(cost, share=(0.5, 0.3, 0.1), **variables):
    """Return a Dataset like that of `count_minima`, of ten runs of which one ended at a saddle."""
    kinds = {"flag_values": [0, 1], "flag_meanings": "strict_minimum saddle"}
    share = np.array(share)
    return xr.Dataset(
        {
            "kind": ("run", [0] * 9 + [1], kinds),
            "minimum_of": ("run", [0] * 9 + [-1]),
            "share": ("minimum", share),
            "share_low": ("minimum", share - 0.05),
            "share_high": ("minimum", share + 0.1),
            "minimum_cost": ("minimum", np.array(cost)),
            **variables,
        }
    )


def test_frequencies_of_minima_have_intervals_and_other_end_points_are_drawn(monkeypatch):
    monkeypatch.setattr(minima, "MAX_BARS", 2)
    ax = Figure().subplots()
    axes = minima.frequencies(census([1e-31, 2.0, 3.0]), ax=ax)
    assert axes is ax
    bars, interval, rest = axes.containers
    np.testing.assert_allclose([bar.get_height() for bar in bars], [0.5, 0.3])
    np.testing.assert_allclose([bar.get_height() for bar in rest], [0.1])
    ends = [path.vertices[:, 1] for path in interval.lines[2][0].get_paths()]
    np.testing.assert_allclose(ends, [[0.45, 0.6], [0.25, 0.4]])
    # A cost that is negligible relative to the largest one is shown as 0.
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "2", "saddle"]
    assert "(1 of higher cost not drawn)" in axes.get_xlabel()
    assert axes.get_title(loc="left") == "3 minima in 10 runs"


def test_minima_of_equal_cost_are_numbered():
    axes = minima.frequencies(census([0.0, 0.0, 1.0]))
    ticks = [tick.get_text() for tick in axes.get_xticklabels()]
    assert ticks == ["0\n0", "1\n0", "2\n1", "saddle"]


POSITION = ("minimum", "plane"), np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])


def test_a_map_shows_positions_shares_costs_and_the_lowest_minimum():
    figure = minima.embedding(census([2.0, 1.0, 3.0], position=POSITION, position_share=0.8)).figure
    axes, bar = figure.axes
    (points,) = axes.collections
    np.testing.assert_allclose(points.get_offsets(), POSITION[1])
    assert np.all(np.diff(points.get_sizes()) < 0)
    np.testing.assert_allclose(points.get_array(), [2, 1, 3])
    assert bar.get_ylabel() == "cost"
    (lowest,) = axes.texts
    assert lowest.xy == (3.0, 0.0)
    assert "80%" in axes.get_xlabel()
    figure.canvas.draw()


def test_no_minimum_is_marked_as_lowest_if_all_costs_are_equal():
    """Costs that differ only by rounding count as equal."""
    equal = census([7e-31, 2e-24, 0.0], position=POSITION, position_share=1.0)
    axes = minima.embedding(equal)
    assert axes.figure.axes == [axes]
    assert not axes.texts
    assert axes.get_title(loc="right") == "cost: 0 everywhere"


def test_a_tree_of_passes_joins_minima_at_their_heights():
    tree = xr.Dataset(
        {
            "minimum_cost": ("minimum", [0.0, 1.0, 2.0]),
            "share": ("minimum", [0.5, 0.3, 0.2]),
            "images": ("minimum", [8, 4, 4]),
            "index": ("saddle", [1, 2]),
            "merge_height": ("merge", [3.0, 4.0, 5.0]),
            "merge_kind": ("merge", [0, 0, 1]),
            "merge_first": ("merge", [0, 0, 0]),
            "merge_second": ("merge", [2, 0, 1]),
            "components": (("merge", "minimum"), [[8, 4, 8], [4, 4, 4], [1, 1, 1]]),
        }
    )
    axes = graph.merge_tree(tree)
    lines = [np.column_stack(line.get_data()).tolist() for line in axes.lines]
    # Minimum 0 merges with its neighbor 2, and both with minimum 1, which is drawn after them.
    assert lines[0] == [[0, 0], [0, 3]]
    assert lines[1] == [[1, 2], [1, 3]]
    assert lines[2] == [[0, 3], [1, 3]]
    assert [[2, 1], [2, 5]] in lines
    assert [[0.5, 5], [2, 5]] in lines
    dashed = [line.get_linestyle() for line in axes.lines if line.get_ydata().tolist() == [5, 5]]
    assert dashed == ["--"]
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["8 → 4", "4 → 1", "0: 50%", "1: 30%", "2: 20%"]
    assert axes.get_title(loc="left") == "3 minima and 1 saddle found, up to symmetry"


def test_minima_by_setting_show_states_sharpness_and_barriers():
    codes = {"flag_values": [0, 1, 2, 3], "flag_meanings": "no_minimum reached near cannot_hold"}
    of_setting = {
        "minima": [2, 1],
        "minima_reached": [1, 1],
        "minima_near": [0, 0],
        "minima_cannot_hold": [1, 0],
        "barrier_median": [0.5, np.nan],
        "barrier_low": [0.2, np.nan],
        "barrier_high": [0.6, np.nan],
    }
    result = xr.Dataset(
        {
            **{name: ("decay", np.array(values, float)) for name, values in of_setting.items()},
            "sharpness": (("decay", "minimum"), [[3.0, 70.0], [2.0, np.nan]]),
            "minimum_state": (("decay", "minimum"), [[1, 3], [1, 0]], codes),
        },
        {"decay": [1e-5, 1e-3]},
        {"result": "census_by"},
    )
    counts, sharpness, barriers = gd.plot(result).axes
    heights = [[bar.get_height() for bar in bars] for bars in counts.containers]
    assert heights == [[1, 1], [0, 0], [1, 0]]
    np.testing.assert_allclose(sharpness.collections[0].get_offsets(), [[0, 3], [0, 70]])
    assert [tick.get_text() for tick in barriers.get_xticklabels()] == ["1e-05", "0.001"]
