"""The trainability boundary: known limits, zooms, and sets of known dimensions."""

from functools import reduce

import jax
import numpy as np
import pytest

import gdjax as gd
from experiments.trainability_boundary import __main__ as experiment
from experiments.trainability_boundary import box_counting
from experiments.trainability_boundary.conditions import CONDITIONS


@pytest.mark.parametrize("name", ["identity", "relu", "one sample", "tanh"])
def test_with_a_fixed_first_layer_the_boundary_is_2_divided_by_the_largest_eigenvalue(name):
    """With fixed hidden activations, the problem is linear regression."""
    config, seed = experiment.Config(points=2, steps=100), 1
    condition = CONDITIONS[name]
    with jax.enable_x64(True):
        problem = condition.problem(seed)
        w0, _ = problem.init(gd.run_keys(seed).init)
        z = np.asarray(problem.data[0]) @ np.asarray(w0).T / np.sqrt(8)
        hidden = {"relu": np.maximum(np.sqrt(2) * z, 0), "identity": z}
        features = hidden.get(condition.activation, np.tanh(np.sqrt(2) * z)) / 8
        limit = 2 / np.linalg.eigvalsh(2 * features.T @ features / len(z))[-1]
        sides = np.array([1e-12, 2e-12]), np.array([0.95 * limit, 1.1 * limit])
        trains, _ = experiment.train(config, condition, problem, sides, seed)
    assert trains.tolist() == [[True, True], [False, False]]


def test_an_offset_is_added_to_the_first_layer_of_the_start():
    init = CONDITIONS["offset"].problem(1).init
    key = jax.random.key(0)
    (first, second), (moved, same) = init(key), init(key, offset=0.5)
    np.testing.assert_allclose(moved - first, 0.5, atol=1e-6)
    assert np.array_equal(second, same)


def test_zooms_select_a_long_boundary_rather_than_isolated_points():
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :64]
    trains = rows < 32
    # The boundary is ragged in one part, and a corner has isolated points.
    trains[16:48, 16:32] = rows[16:48, 16:32] < 32 + 12 * np.sin(columns[16:48, 16:32])
    trains[:16, 48:] = rng.random((16, 16)) < 0.5
    row, column = experiment.window_with_longest_boundary(trains, factor=4)
    inside = trains[row : row + 16, column : column + 16]
    assert box_counting.boundary(inside).mean() <= experiment.MAX_BOUNDARY_SHARE
    assert 16 <= row < 48
    assert column <= 32


def test_random_zooms_lie_around_boundary_cells_within_the_map():
    trains = np.add.outer(np.arange(64), np.arange(64)) < 40
    rng = np.random.default_rng(0)
    corners = [experiment.random_window(trains, 8, rng) for _ in range(50)]
    for row, column in corners:
        inside = trains[row : row + 8, column : column + 8]
        assert inside.shape == (8, 8)
        assert 0 < inside.mean() < 1
    assert len(set(corners)) > 20
    with pytest.raises(gd.errors.InputError, match="the map has no boundary"):
        experiment.random_window(np.ones((64, 64), bool), 8, rng)


def test_the_published_estimator_is_near_the_dimensions_of_a_line_and_of_random_points():
    straight = np.tile(np.arange(240) < 100, (240, 1))
    dust = np.random.default_rng(0).random((240, 240)) < 0.5
    assert experiment.published_estimator(straight[None]) == pytest.approx(1, abs=0.1)
    assert experiment.published_estimator(dust[None]) == pytest.approx(2, abs=0.1)
    both = np.stack([straight, dust])
    assert 1 < experiment.published_estimator(both) < 2


def self_similar(pattern, levels):
    """Return the set whose parts with a 1 in the pattern are copies of the set, at a level."""
    return reduce(np.kron, [np.array(pattern)] * levels).astype(bool)


CARPET = [[1, 1, 1], [1, 0, 1], [1, 1, 1]]  # of Sierpinski
CANTOR = [1, 0, 1]


def koch(levels):
    """Return corners of the Koch curve: 4 sides of 1/3 the length replace each side."""
    points = np.array([0.0, 1.0 + 0j])
    for _ in range(levels):
        step = np.diff(points) / 3
        bump = step * np.exp(1j * np.pi / 3)
        rows = [points[:-1], points[:-1] + step, points[:-1] + step + bump, points[:-1] + 2 * step]
        points = np.append(np.stack(rows, axis=1).ravel(), points[-1])
    return points


def drawn(points, size):
    """Return the cells of a square grid on [0, 1] x [0, 1] that contain a point."""
    cells = np.zeros((size, size), bool)
    index = np.minimum((np.stack([points.real, points.imag]) * size).astype(int), size - 1)
    cells[tuple(index)] = True
    return cells


def fit_of(cells, sides=None):
    """Return the fitted dimension of a set of cells."""
    return box_counting.dimension(*box_counting.box_counts(cells, sides=sides))


@pytest.mark.parametrize(
    ("cells", "sides", "exact"),
    [
        (np.ones((256, 256), bool), None, 2),
        (self_similar(CARPET, 5), 3 ** np.arange(5), np.log(8) / np.log(3)),
        (self_similar(CANTOR, 7), 3 ** np.arange(6), np.log(2) / np.log(3)),
    ],
    ids=["filled square", "carpet", "Cantor set"],
)
def test_dimensions_are_exact_on_the_scales_of_a_set(cells, sides, exact):
    fit = fit_of(cells, sides)
    assert fit.dimension == pytest.approx(exact, abs=1e-12)
    assert fit.standard_error < 1e-12


def test_dimensions_of_curves_are_accurate_on_other_scales():
    across, x = np.linspace(0, 1, 100_000), np.linspace(-1, 1, 1025)
    for slope in (0.0, 0.37, 1.0):
        assert abs(fit_of(drawn(across + 1j * slope * across, 1024)).dimension - 1) < 0.02
    # Sides of generation 8 have length 1/6561, much less than a cell (1/1024).
    assert abs(fit_of(drawn(koch(8), 1024)).dimension - np.log(4) / np.log(3)) < 0.05
    disc = box_counting.boundary(x[:, None] ** 2 + x**2 < 0.7)
    assert abs(fit_of(disc).dimension - 1) < 0.03


def triangle(count, rng):
    """Return points of the Sierpinski triangle, by repeated halfway moves to corners."""
    corners = np.array([0, 1, 0.5 + 1j * np.sqrt(3) / 2])
    point, result = np.full(1000, 0.3 + 0.3j), []
    for turn in range(30 + count // 1000):
        point = (point + corners[rng.integers(3, size=1000)]) / 2
        result += [point] if turn >= 30 else []
    return np.concatenate(result)


def henon(count, rng):
    """Return points of the Henon attractor, in the unit square."""
    x, y = rng.uniform(-0.1, 0.1, (2, 1000))
    result = []
    for turn in range(100 + count // 1000):
        x, y = 1 - 1.4 * x**2 + y, 0.3 * x
        result += [(x + 1.5) / 3 + 1j * (y + 0.5)] if turn >= 100 else []
    return np.concatenate(result)


def test_the_error_bounds_the_deviation_from_the_known_dimension():
    """The standard error is too small on scales that differ from those of the set."""
    rng = np.random.default_rng(0)
    drawings = {
        "koch": (koch(8), np.log(4) / np.log(3)),
        "triangle": (triangle(400_000, rng), np.log(3) / np.log(2)),
        "henon": (henon(400_000, rng), 1.26),
        "line": (np.linspace(0, 1, 100_000) * (1 + 0.37j), 1.0),
    }
    sets = {
        (name, size): (drawn(points, size), exact)
        for name, (points, exact) in drawings.items()
        for size in (192, 256, 512, 1024)
    }
    sets |= {("carpet", n): (self_similar(CARPET, n), np.log(8) / np.log(3)) for n in (5, 6)}
    biased = 0
    for name, (cells, exact) in sets.items():
        fit = fit_of(cells)
        assert abs(fit.dimension - exact) <= fit.error <= 0.15, name
        biased += abs(fit.dimension - exact) > 2 * fit.standard_error
    assert biased > 2


def test_the_standard_error_is_that_of_the_scatter_around_the_fitted_line():
    sides = np.array([1, 10, 100, 1000])
    # log10 N = 8 - log10(side) plus 0.1, -0.1, -0.1 and 0.1, which are orthogonal to lines.
    counts = np.round(10.0 ** (8 - np.arange(4) + 0.1 * np.array([1, -1, -1, 1]))).astype(int)
    fit = box_counting.dimension(sides, counts)
    assert fit.dimension == pytest.approx(1, abs=1e-4)
    # Expected: sqrt(sum of squares / (n - 2) / sum (x - mean)^2) = sqrt(0.04 / 2 / 5).
    assert fit.standard_error == pytest.approx(np.sqrt(0.004), abs=1e-4)


def test_a_boundary_separates_the_two_sides():
    inside = np.zeros((6, 5), bool)
    inside[:, :2] = True
    cells = box_counting.boundary(inside)
    assert cells.shape == (5, 4)
    assert np.array_equal(np.flatnonzero(cells.any(axis=0)), [1])
    assert np.array_equal(cells, box_counting.boundary(~inside))
    assert not box_counting.boundary(np.ones((4, 4), bool)).any()
