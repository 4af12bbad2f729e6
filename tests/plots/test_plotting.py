"""Figures of `gd.plot` for all kinds of results."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr
from matplotlib.colors import LogNorm, to_rgba
from matplotlib.figure import Figure
from plane_of_a_bowl import SIDE, plane

import gdjax as gd
from gdjax.base.errors import InputError
from gdjax.dynamics.central_flow import CentralFlow
from gdjax.dynamics.gradient_flow import Flow, FlowDistance
from gdjax.landscape.basin_volume import BasinVolume
from gdjax.landscape.learning_coefficient import (
    FiniteTemperatureCoefficient,
    LocalLearningCoefficient,
)
from gdjax.minima.barriers import PairwiseBarriers
from gdjax.plots.axes import log_scale
from gdjax.plots.style import LogTicks

RATES = np.geomspace(0.01, 1, 4)


@pytest.mark.parametrize(
    ("values", "scale"),
    [([1, 9], "linear"), ([1, 99], "log"), ([-1, 1, 99], "linear"), ([0, 1, 99, np.nan], "log")],
)
def test_an_axis_is_logarithmic_for_a_large_range_without_negative_values(values, scale):
    axes = Figure().subplots()
    log_scale(axes, values, ratio=10)
    assert axes.get_yscale() == scale


def swept(**values):
    """Return a Dataset like that of a sweep, in which every run has different costs."""
    shape = tuple(len(v) for v in values.values())
    cost = 1.0 + np.arange(np.prod(shape) * 3, dtype=float).reshape(*shape, 3)[..., ::-1]
    outcome = xr.Variable(
        tuple(values), np.zeros(shape, np.int8), {"flag_meanings": "not_converged stalled diverged"}
    )
    return xr.Dataset(
        {"cost": ((*values, "step"), cost), "outcome": outcome},
        {**values, "step": [0, 10, 20]},
        {"identity": json.dumps({"baseline": None})},
    )


def figure_of(result):
    figure = gd.plot(result)
    figure.draw_without_rendering()
    return figure


def test_the_figure_of_a_sweep_over_seeds_shows_every_run_and_the_median():
    axes = figure_of(swept(seed=np.arange(3))).axes[0]
    assert [line.get_label() for line in axes.lines][-1] == "median"
    np.testing.assert_array_equal(axes.lines[-1].get_ydata(), [6, 5, 4])
    assert axes.get_title(loc="left") == "3 runs end at a cost of 1 to 7"


def test_measurements_are_drawn_against_steps_settings_or_labels():
    bowl = gd.problems.bowl([1.0, 9.0])
    metrics = {"norm": lambda problem, w: jnp.linalg.norm(w)}
    axes = gd.axes(learning_rate=[0.1, 0.2, 0.05], seed=range(2))
    runs = gd.sweep(bowl, axes, 4, snapshot_every=2)
    ends = gd.measure(metrics, runs, problem=bowl)
    (drawn,) = figure_of(ends).axes
    assert drawn.get_xlabel() == "learning rate"
    np.testing.assert_allclose(drawn.lines[0].get_xdata(), [0.05, 0.1, 0.2])
    medians = np.median(ends.norm.sortby("learning_rate").values, axis=1)
    np.testing.assert_allclose(drawn.lines[0].get_ydata(), medians, rtol=1e-6)
    (drawn,) = figure_of(gd.measure(metrics, runs, problem=bowl, steps="snapshots")).axes
    assert list(drawn.lines[0].get_xdata()) == [0, 2, 4]
    points = gd.measure(metrics, {"a": jnp.ones(2), "b": jnp.zeros(2)}.items(), problem=bowl)
    assert [t.get_text() for t in figure_of(points).axes[0].get_xticklabels()] == ["a", "b"]
    with pytest.raises(InputError, match=r"^plot: result has no measurement"):
        gd.plot(gd.measure(metrics, (bowl, jnp.ones(2))))


def test_runs_whose_seeds_vary_together_are_repetitions():
    bowl = gd.Problem(
        init=lambda key: jax.random.normal(key, (2,)),
        cost=lambda w, x: jnp.mean(jnp.sum((w[None] - x) ** 2, axis=-1)),
        data=np.arange(6.0, dtype=np.float32).reshape(3, 2),
    )
    pairs = gd.zip_axes(seed=range(3), data_seed=range(3))
    runs = gd.sweep(bowl, gd.axes(learning_rate=[0.1, 0.2], run=pairs), 2, batch_size=1)
    figure = figure_of(runs)
    assert figure.axes[-1].get_xlabel() == "learning rate"
    assert len(figure.axes[0].lines[-1].get_ydata()) == 6
    alone = figure_of(runs.isel(learning_rate=0))
    np.testing.assert_allclose(
        alone.axes[0].lines[-1].get_ydata(), runs.cost[0].median("run"), rtol=1e-6
    )


def bar_extents(axes):
    """Return the left edges, right edges and centers of the bars, in pixels."""
    extents = np.array([bar.get_window_extent().intervalx for bar in axes.patches])
    return extents, extents.mean(axis=1)


def pixels(axes, places):
    return axes.transData.transform([[place, 0.5] for place in places])[:, 0]


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([0.3, 3.0, 30.0], "log"),
        ([0.01, 0.02, 1.0], "log"),
        ([0.05, 0.5], "linear"),
        ([0.0, 0.5, 0.9], "linear"),
        ([-2.0, -1.0, 3.0], "linear"),
        ([16, 32, 64], "linear"),
        ([30.0, 0.3, 3.0], "log"),
    ],
)
def test_bars_are_centered_at_the_values_of_the_setting_and_do_not_overlap(values, scale):
    top, bottom = figure_of(swept(learning_rate=np.array(values), seed=np.arange(2))).axes
    assert bottom.get_xscale() == scale
    extents, centers = bar_extents(bottom)
    np.testing.assert_allclose(centers, pixels(bottom, np.sort(values)), atol=0.5)
    np.testing.assert_allclose(np.ptp(extents, axis=1), np.ptp(extents[0]), rtol=1e-3)
    assert np.ptp(extents[0]) > 8
    assert np.all(extents[1:, 0] > extents[:-1, 1])
    assert bottom.get_window_extent().x0 < extents.min()
    assert extents.max() < bottom.get_window_extent().x1
    medians = next(line for line in top.lines if line.get_label() == "median")
    np.testing.assert_allclose(pixels(top, medians.get_xdata()), centers, atol=0.5)


@pytest.mark.parametrize(
    "values", [["sgd", "adam"], [0.0, 0.001, 0.01, 1.0], [True, False], [-10.0, -0.01, 0.01]]
)
def test_names_and_values_that_would_overlap_are_drawn_as_categories(values):
    bottom = figure_of(swept(rule=np.array(values), seed=np.arange(2))).axes[-1]
    extents, centers = bar_extents(bottom)
    np.testing.assert_allclose(centers, pixels(bottom, np.arange(len(values))), atol=0.5)
    assert np.ptp(extents[0]) > 40
    labels = [text.get_text() for text in bottom.get_xticklabels()]
    assert labels == [f"{v:.3g}" if isinstance(v, float) else str(v) for v in values]


def cells(figure):
    """Return the colors of cells of a map [rows, columns], and their edges in pixels."""
    axes = figure.axes[0]
    (mesh,) = axes.collections
    corners = axes.transData.transform(mesh.get_coordinates().reshape(-1, 2))
    corners = corners.reshape(mesh.get_coordinates().shape)
    rows, columns = np.array(corners.shape[:2]) - 1
    return mesh.get_facecolor().reshape(rows, columns, 4), corners[:, 0, 1], corners[0, :, 0]


@pytest.mark.parametrize("rates", [[0.05, 0.5], [0.3, 3.0, 30.0], [0.01, 0.1, 1.0, 10.0]])
@pytest.mark.parametrize("momenta", [[0.0, 0.5, 0.9], [0.9, 0.0]])
def test_cells_of_a_map_lie_around_their_settings_and_only_diverged_ones_are_black(rates, momenta):
    runs = swept(learning_rate=np.array(rates), momentum=np.array(momenta), seed=np.arange(3))
    runs.cost[{"learning_rate": -1, "momentum": -1}] = np.inf
    figure = figure_of(runs)
    axes = figure.axes[0]
    colors, heights, widths = cells(figure)
    centers = axes.transData.transform([[momenta[0], rate] for rate in rates])[:, 1]
    np.testing.assert_allclose((heights[1:] + heights[:-1]) / 2, centers, atol=0.5)
    order = np.sort(momenta)
    assert np.all(widths[:-1] < pixels(axes, order))
    assert np.all(pixels(axes, order) < widths[1:])
    black = np.all(np.isclose(colors, to_rgba("#222222")), axis=-1)
    expected = np.isinf(runs.cost.isel(step=-1, seed=0).sortby("momentum").values)
    np.testing.assert_array_equal(black, expected)


def with_baseline(runs, baseline):
    return runs.assign_attrs(identity=json.dumps({"baseline": baseline}))


def baselines(axes):
    return [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":"]


def test_the_baseline_is_drawn_and_stalled_runs_are_marked():
    runs = with_baseline(swept(learning_rate=RATES, seed=np.arange(2)), 7.5)
    runs.outcome[2, 1] = 1
    middle, bottom = figure_of(runs).axes
    assert baselines(middle) == [7.5]
    bars = {bars.get_label(): bars for bars in bottom.containers}
    assert [bar.get_height() for bar in bars["stalled"]] == [0, 0, 0.5, 0]
    assert list(bars) == ["not converged", "stalled"]
    assert baselines(figure_of(with_baseline(swept(seed=np.arange(3)), 5.5)).axes[0]) == [5.5]
    assert baselines(figure_of(swept(seed=np.arange(3))).axes[0]) == []


def test_a_map_has_circles_where_runs_stalled_and_the_baseline_in_its_color_bar():
    values = {"learning_rate": RATES, "momentum": np.array([0.0, 0.9]), "seed": np.arange(3)}
    runs = with_baseline(swept(**values), 20.0)
    runs.outcome[2, 1, :2] = 1
    runs.outcome[0, 0, 0] = 1
    axes, bar = figure_of(runs).axes
    (circles,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert circles.get_xydata().tolist() == [[0.9, RATES[2]]]
    assert baselines(bar) == [20.0]


def test_a_descent_is_drawn_with_the_baseline_of_its_problem():
    bowl = gd.Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2), baseline=1.5)
    run = gd.descend(bowl, optax.sgd(0.25), jnp.ones(2), 3, key=jax.random.key(0))
    figure = figure_of(run)
    assert baselines(figure.axes[0]) == [1.5]
    assert figure.axes[0].get_title(loc="left") == "3 steps: not converged"


def test_an_axis_of_one_value_is_omitted_and_shown_in_the_title():
    runs = swept(learning_rate=np.array([0.1]), momentum=np.array([0.0, 0.9]), seed=np.arange(3))
    figure = figure_of(runs)
    _, centers = bar_extents(figure.axes[-1])
    assert figure.axes[-1].get_xlabel() == "momentum"
    np.testing.assert_allclose(centers, pixels(figure.axes[-1], [0.0, 0.9]), atol=0.5)
    title = "Lowest median training cost at momentum 0, learning rate 0.1"
    assert figure.axes[0].get_title(loc="left") == title
    runs = swept(a=np.array([1]), b=RATES, c=np.array([2]), d=np.array([0.0, 0.5, 0.9]))
    figure = figure_of(runs)
    assert (figure.axes[0].get_ylabel(), figure.axes[0].get_xlabel()) == ("b", "d")
    axes = figure_of(swept(a=np.array([1]), b=np.array([0.5]))).axes[0]
    assert axes.get_title(loc="left") == "1 run ends at a cost of 1, a 1, b 0.5"


def test_costs_of_different_settings_of_the_cost_are_not_compared():
    """The runs without decay would have the lowest cost, which is another one."""
    bowl = gd.Problem(
        lambda key: jnp.ones(2), lambda w, *, decay=0.0: jnp.sum((w - 3) ** 2 + decay * w**2)
    )
    runs = gd.sweep(bowl, gd.axes(decay=[0.0, 0.1, 1.0], learning_rate=[0.1, 0.2]), 3)
    for chosen in (runs, runs.isel(learning_rate=0)):
        figure = figure_of(chosen)
        assert (
            figure.axes[0].get_title(loc="left").startswith("A cost for each decay: their values")
        )
        assert not any(line.get_marker() == "*" for line in figure.axes[0].lines)
    title = figure_of(runs.isel(decay=0)).axes[0].get_title(loc="left")
    assert title == "Lowest training cost at learning rate 0.2, decay 0"


def test_unfinished_and_equal_runs_are_named():
    runs = swept(learning_rate=RATES, seed=np.arange(3))
    unfinished = runs.assign(outcome=runs.outcome.where(runs.seed > 0, -1))
    assert "8 of 12 runs finished" in figure_of(unfinished).axes[0].get_title(loc="left")
    equal = runs.assign(cost=0 * runs.cost + runs.cost.isel(seed=0, drop=True))
    assert "equal costs for all seeds" in figure_of(equal).axes[0].get_title(loc="left")


def test_the_figure_of_diverged_runs_contains_a_note():
    for values in (
        {"seed": np.arange(3)},
        {"learning_rate": RATES, "seed": np.arange(3)},
        {"learning_rate": RATES, "momentum": np.array([0.0, 0.9])},
    ):
        runs = swept(**values)
        runs = runs.assign(cost=np.inf * runs.cost)
        title = figure_of(runs).axes[0].get_title(loc="left")
        assert title in (
            "No final cost of 3 runs is finite",
            "No median of the final cost is finite",
        )
    curve = gd.search.tuning_curve(runs.rename(momentum="seed"))
    assert [text.get_text() for text in figure_of(curve).axes[0].texts] == ["no finite value"]


def test_a_diverged_run_does_not_stretch_the_axis():
    runs = swept(seed=np.arange(3))
    runs.cost[2, 1:] = [1e30, np.inf]
    assert figure_of(runs).axes[0].get_ylim()[1] < 10


def test_cells_of_unfinished_runs_are_neither_black_nor_marked_as_lowest():
    runs = swept(learning_rate=RATES, momentum=np.array([0.0, 0.9]), seed=np.arange(3))
    runs.cost[{"learning_rate": 0}] = np.nan
    figure = figure_of(runs)
    colors, *_ = cells(figure)
    np.testing.assert_allclose(colors[0], np.tile(to_rgba("#DDDDDD"), (2, 1)))
    assert figure.axes[0].get_title(loc="left") == "Lowest cost at learning rate 0.0464, momentum 0"


def test_each_value_of_a_third_setting_has_a_map_with_a_common_color_bar():
    momenta = np.array([0.0, 0.9])
    figure = figure_of(swept(learning_rate=RATES, momentum=momenta, rule=np.array(["a", "b", "c"])))
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]
    assert titles == ["momentum 0", "momentum 0.9"]
    first, second = (axes.collections[0] for axes in figure.axes[:2])
    assert first.get_clim() == second.get_clim()
    assert figure.axes[0].get_ylabel() == "learning rate"
    with pytest.raises(InputError, match=r"a, b, c, d in 16 maps, but .*runs.sel\(c=\[...\]\)"):
        gd.plot(swept(a=RATES, b=RATES, c=RATES, d=RATES))


def test_exact_zeros_do_not_make_a_logarithmic_scale_linear():
    runs = swept(learning_rate=RATES, momentum=np.array([0.0, 0.5, 0.9]), seed=np.arange(2))
    runs["cost"] = runs.cost**2
    runs.cost[0, 0] = 0.0
    assert isinstance(figure_of(runs).axes[0].collections[0].norm, LogNorm)
    assert figure_of(runs.isel(momentum=0)).axes[0].get_yscale() == "log"
    runs = swept(seed=np.arange(3))
    runs.cost[:, -1] = [0.0, 1e-3, 1e3]
    assert figure_of(runs).axes[0].get_yscale() == "log"


def test_a_stopped_run_is_drawn_at_its_last_recorded_cost():
    runs = swept(learning_rate=RATES, seed=np.arange(3))
    runs.cost[0, :, 1:] = np.nan
    for ordered in (runs, runs.transpose("step", ...)):
        middle = figure_of(ordered).axes[0]
        median = next(line for line in middle.lines if line.get_label() == "median")
        np.testing.assert_array_equal(median.get_ydata(), [6, 13, 22, 31])


def test_one_run_per_setting_has_no_quartiles():
    figure = figure_of(swept(learning_rate=RATES))
    assert [line.get_label() for line in figure.axes[0].lines] == ["median"]
    assert figure.axes[0].get_title(loc="left") == "Lowest training cost at learning rate 0.01"
    assert figure.axes[0].get_legend() is None


@pytest.mark.parametrize("result", [plane(), plane().isel(b=4), plane(path=True)])
def test_slices_of_one_and_two_dimensions_are_drawn(result):
    figure = figure_of(result)
    label = "distance from the point, in the space of all parameters"
    expected = "first direction" if "b" in result.dims else label
    assert figure.axes[0].get_xlabel() == expected
    if "b" in result.dims:
        np.testing.assert_allclose(figure.axes[0].get_xlim(), SIDE[[0, -1]])


@pytest.mark.long
def test_a_spectrum_is_drawn_with_positive_and_negative_eigenvalues():
    def saddle(w):
        return w[0] ** 2 - 3 * w[1] ** 2

    w, key = jnp.ones(2), jax.random.key(0)
    pairs = gd.curvature.extreme_eigenpairs(saddle, w, key=key, largest=1, smallest=1)
    assert figure_of(pairs).axes[0].get_title(loc="left") == "Eigenvalues: -6 to 2"
    spread = figure_of(gd.curvature.spectral_density(saddle, w, key=key))
    assert spread.axes[0].get_xlim()[0] < -6


def test_a_notebook_shows_a_figure_created_without_pyplot():
    image, size = figure_of(plane())._repr_png_()
    assert image.startswith(b"\x89PNG")
    assert size["width"] < 600


def test_a_computed_sweep_is_drawn_from_memory_and_from_its_store_with_its_baseline(tmp_path):
    bowl = gd.Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2), baseline=1.5)
    runs = gd.sweep(bowl, gd.axes(learning_rate=[0.1, 0.2]), 2, store=tmp_path / "runs.zarr")
    expected = [0.8**4 * 2, 0.6**4 * 2]
    for result in (runs, tmp_path / "runs.zarr", str(tmp_path / "runs.zarr")):
        middle = figure_of(result).axes[0]
        assert baselines(middle) == [1.5]
        median = next(line for line in middle.lines if line.get_label() == "median")
        np.testing.assert_allclose(median.get_ydata(), expected, rtol=1e-5)


def test_a_gradient_flow_and_its_distances_are_drawn_against_time():
    times, cost = jnp.array([0.0, 0.5, 1.0]), jnp.array([1.0, 0.4, 0.2])
    flow = Flow({}, cost, jnp.array(9), jnp.array(0), times)
    (line,) = figure_of(flow).axes[0].lines
    np.testing.assert_allclose(line.get_xydata(), np.stack([times, cost], axis=1))
    rates, distance = jnp.array([0.25, 0.5]), jnp.array([[0.3, 0.2, 0.1], [0.6, 0.4, 0.3]])
    distances = FlowDistance(rates, times, distance, distance, {}, flow)
    first, second = figure_of(distances).axes[0].lines
    np.testing.assert_allclose(second.get_ydata(), distance[1])
    assert [first.get_label(), second.get_label()] == ["0.25", "0.5"]


def test_the_figure_of_a_central_flow_shows_costs_and_eigenvalues():
    times, eigenvalues = jnp.arange(3.0), jnp.array([[4.0, 2.0], [3.0, 2.5], [5.0, 1.0]])
    cost, mean_cost = jnp.array([1.0, 0.5, 0.4]), jnp.array([1.0, 0.6, 0.5])
    flow = CentralFlow(
        times, {}, cost, mean_cost, eigenvalues, jnp.zeros((3, 2, 2)), times, jnp.array(0)
    )
    top, bottom = figure_of(flow).axes
    mean, center = top.lines
    np.testing.assert_allclose(center.get_ydata(), flow.cost)
    np.testing.assert_allclose(mean.get_ydata(), flow.mean_cost)
    np.testing.assert_allclose([line.get_ydata() for line in bottom.lines], eigenvalues.T)


def test_barriers_are_drawn_as_matrices_before_and_after_matching():
    matrix = np.array([[0.0, 1.0, 0.5], [1.0, 0.0, 0.2], [0.5, 0.2, 0.0]])
    pairs = np.triu_indices(3, 1)
    cost = np.zeros((3, 2))
    pairwise = PairwiseBarriers(
        matrix, matrix / 2, matrix, matrix, *pairs, np.linspace(0, 1, 2), cost, cost, matrix, matrix
    )
    figure = figure_of(pairwise)
    before, after = (axes.images[0].get_array() for axes in figure.axes[:2])
    np.testing.assert_allclose(np.sort(np.ravel(before)), np.sort(np.ravel(matrix)))
    np.testing.assert_allclose(after, before / 2)
    unknown = pairwise._replace(matched_barrier=np.full((3, 3), np.nan))
    assert figure_of(unknown).axes[0].get_title(loc="left") == "straight\nmedian 0.5"


def test_the_figure_of_a_gradient_summary_shows_norms_and_exact_zeros():
    params = {"a": jnp.ones((2, 2)), "b": jnp.array([0.0, 3.0])}
    summary = gd.curvature.gradient_summary(lambda w: jnp.sum(w["a"]) + w["b"][1] ** 2 / 2, params)
    axes = figure_of(summary).axes[0]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [2, 3])
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b"]
    assert [text.get_text() for text in axes.texts] == ["50.0% exactly zero"]
    assert axes.get_title(loc="left") == "Gradient of norm 3.61"


def test_a_basin_volume_is_drawn_as_a_histogram_of_its_radii():
    numbers = [jnp.array(x) for x in (2.5, 2.3, 2.7, 0.1, 38.0, 0.2, False, 0, 0.0, 0)]
    volume = BasinVolume(*numbers, jnp.linspace(1.0, 2.0, 40))
    axes = figure_of(volume).axes[0]
    assert sum(bar.get_height() for bar in axes.patches) == 40
    assert axes.get_title(loc="left").startswith("Log volume")
    opened = volume._replace(radii=volume.radii.at[0].set(jnp.inf), open_directions=jnp.array(1))
    axes = figure_of(opened).axes[0]
    assert sum(bar.get_height() for bar in axes.patches) == 39
    assert axes.get_xlabel() == "distance to the boundary; no boundary in 1 directions"


def test_the_figure_of_a_learning_coefficient_shows_chains_and_the_extrapolation():
    single = FiniteTemperatureCoefficient(
        *[jnp.array(x) for x in (0.5, 0.02, [0.48, 0.52], 200.0, 1.0, 1.0, 0.9, 0.1, 0.0, 0.3)],
        jnp.array(0),
    )
    axes = figure_of(single).axes[0]
    np.testing.assert_allclose(axes.lines[1].get_ydata(), [0.48, 0.52])
    assert axes.get_title(loc="left") == "Chains: agreed"
    several = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), single)
    coefficient = LocalLearningCoefficient(
        *jnp.array([0.6, 0.5, 0.7]), jnp.array([10.0, 100.0]), several
    )
    axes = figure_of(coefficient).axes[0]
    (marks, _, _) = axes.containers[0]
    np.testing.assert_allclose(marks.get_xydata(), [[10, 0.5], [100, 1.0]], rtol=1e-6)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["extrapolated: 0.5 to 0.7", "at this temperature"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.86, 0.92, [0.86, 0.88, 0.9, 0.92]),
        (0.55, 0.95, [0.6, 0.7, 0.8, 0.9]),
        (2.2, 4.5, [3, 4]),
        (0.8, 2.2, [1, 2]),
        (0.1, 30.0, [0.1, 0.2, 0.5, 1, 2, 5, 10, 20]),
    ],
)
def test_a_log_axis_has_at_least_two_labels(low, high, expected):
    np.testing.assert_allclose(LogTicks().tick_values(low, high), expected)


def test_axes_that_vary_together_are_shown_by_their_values():
    runs = swept(setting=np.arange(3), seed=np.arange(2)).drop_vars("setting")
    along = {"learning_rate": [0.1, 0.2, 0.3], "decay": [1e-3, 1e-5, 0.5], "batch_size": [8] * 3}
    runs = runs.assign_coords({name: ("setting", values) for name, values in along.items()})
    bottom = figure_of(runs).axes[-1]
    assert bottom.get_xlabel() == "learning rate, decay"
    ticks = [tick.get_text() for tick in bottom.get_xticklabels()]
    assert ticks == ["0.1, 0.001", "0.2, 1e-05", "0.3, 0.5"]


def test_a_nearly_diverged_cell_does_not_flatten_the_colors_of_a_map():
    runs = swept(learning_rate=RATES, momentum=np.array([0.0, 0.9]), seed=np.arange(2))
    runs.cost[-1, -1] = 1e11
    figure = figure_of(runs)
    (mesh,) = figure.axes[0].collections
    assert mesh.norm.vmax < 100
    colors, *_ = cells(figure)
    np.testing.assert_allclose(colors[-1, -1], mesh.cmap(1.0))  # the last color, not black
    assert "last color: up to 1e+11" in figure.axes[-1].get_ylabel()
