"""Coordinate check: activation changes compared with sweeps and predicted slopes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax as gd

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 5)).astype(np.float32)
Y = RNG.normal(size=(8, 1)).astype(np.float32)


def activations(params, batch):
    W_0, W_1, V = params
    first = batch[0] @ W_0.T
    second = first @ W_1.T
    return {"first": first, "second": second, "output": second @ V.T}


def linear_network(n, *, output_std):
    def init(key):
        keys = jax.random.split(key, 3)
        stds = (X.shape[1] ** -0.5, n**-0.5, output_std)
        shapes = ((n, X.shape[1]), (n, n), (1, n))
        return [s * jax.random.normal(k, d) for k, s, d in zip(keys, stds, shapes, strict=True)]

    def cost(params, batch):
        return jnp.mean((activations(params, batch)["output"] - batch[1]) ** 2)

    return gd.Problem(init=init, cost=cost, data=(X, Y))


def adam(learning_rate, *, hidden_factor):
    """Return Adam with the updates of all layers but the first multiplied by a factor."""
    factors = [1.0, hidden_factor, hidden_factor]
    return optax.chain(
        optax.adam(learning_rate),
        optax.stateless(lambda u, w: [f * a for f, a in zip(factors, u, strict=True)]),
    )


def standard(n):
    return linear_network(n, output_std=n**-0.5)


def maximal_update(n):
    optimizer = partial(adam, hidden_factor=32 / n)
    return linear_network(n, output_std=32**0.5 / n), {"make_optimizer": optimizer}


def check(make_problem, widths, **settings):
    problems = {str(n): make_problem(n) for n in widths}
    return gd.search.coordinate_check(problems, activations, **settings)


@pytest.fixture(scope="module")
def small():
    return check(standard, (4, 6), learning_rate=0.01, steps=(1, 3), num_seeds=2)


def test_changes_equal_those_computed_from_the_snapshots_of_a_sweep(small):
    assert small.change.dims == ("layer", "step", "width", "seed")
    runs = gd.sweep(standard(6), gd.axes(learning_rate=[0.01], seed=[1]), 3, snapshot_every=1)
    snapshots = [runs[f"snapshots.{i}"][0, 0].values.astype(float) for i in range(3)]
    layers = [
        {name: np.asarray(a, float) for name, a in activations(w, (X, Y)).items()}
        for w in zip(*snapshots, strict=True)
    ]
    for step in (1, 3):
        for name in layers[0]:
            expected = np.sqrt(np.mean((layers[step][name] - layers[0][name]) ** 2))
            change = small.change.sel(layer=name, step=step, width=6, seed=1)
            np.testing.assert_allclose(change, expected, rtol=1e-4, err_msg=name)


def test_the_slope_is_that_of_a_line_fitted_to_logarithms(small):
    log = np.log(small.change)
    slope = (log.sel(width=6) - log.sel(width=4)) / np.log(6 / 4)
    np.testing.assert_allclose(small.slope, slope.mean("seed").transpose("layer", "step"), 1e-3)


@pytest.mark.long
def test_changes_grow_with_the_width_in_the_standard_parametrization_and_not_in_mup():
    settings = {"learning_rate": 0.003, "make_optimizer": optax.adam, "steps": (1, 10)}
    result = check(standard, (32, 128, 512), **settings)
    assert np.all(result.slope_low.sel(layer=["second", "output"]) > 0.3)
    assert np.all(result.slope.sel(layer="second", step=1) > 0.7)
    result = check(maximal_update, (32, 128, 512), **settings)
    assert np.all(np.abs(result.slope) < 0.25), result.slope
    assert np.all(result.slope_low < result.slope)


def test_a_run_that_diverges_has_no_slope():
    result = check(standard, (4, 6), learning_rate=1e9, steps=(1, 10), num_seeds=2)
    assert np.isnan(result.change.sel(step=10)).all()
    assert np.isnan(result.slope.sel(step=10)).all()


def test_the_figure_has_a_panel_per_layer(small):
    figure = gd.plot(small)
    assert [axes.get_title(loc="left") for axes in figure.axes] == small.layer.values.tolist()
    line = figure.axes[0].lines[1]
    np.testing.assert_allclose(line.get_ydata(), small.change[0, 1].median("seed"), rtol=1e-6)
    assert f"slope {float(small.slope[0, 1]):.2f}" in line.get_label()
