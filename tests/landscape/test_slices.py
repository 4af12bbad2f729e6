"""Slices, compared with closed forms, direct evaluation and eigenvectors."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax as gd
from gdjax.base import slabs
from gdjax.landscape import slices
from gdjax.landscape.directions import at_coordinates
from gdjax.problems import as_problem, digits
from gdjax.problems.facts import traced_metric


@pytest.fixture(scope="module")
def problem():
    return digits("mnist5k", samples=1500)


def weighted(w):
    """Return a quadratic cost with its minimum at (1, -2, 0)."""
    return w[0] ** 2 - 2 * w[0] + 10 * (w[1] + 2) ** 2 + w[2] ** 2


# -- closed forms


def test_a_plane_through_a_quadratic_is_exact(float64):
    w, d, e = (np.array(v, float) for v in ([1, 1, 1], [1, 2, -1], [0.5, 0, 3]))
    a, b = np.linspace(-2, 1, 7), np.linspace(-1, 3, 5)
    # Compiled programs sort the keys of a dict, so the names are not in alphabetical order.
    result = slices.plane(weighted, w, {"z": d, "b": e}, a, b)
    x, y, z = (w[i] + a[:, None] * d[i] + b[None, :] * e[i] for i in range(3))
    np.testing.assert_allclose(result.cost, x**2 - 2 * x + 10 * (y + 2) ** 2 + z**2, rtol=1e-13)
    assert result.cost.dims == ("a", "b")
    np.testing.assert_array_equal(result.a, a)
    assert (result.a.attrs["long_name"], result.b.attrs["long_name"]) == ("z", "b")
    assert result.a.attrs["length"] == pytest.approx(6**0.5)
    assert result.attrs["cosines"] == [pytest.approx(d @ e / 6**0.5 / 9.25**0.5)]
    assert result.attrs["directions"] == ["z", "b"]


def test_a_grid_has_as_many_dimensions_as_directions(float64):
    axes = [np.array([0.0, 1.0]), np.array([2.0]), np.array([-1.0, 0.0, 1.0])]
    units = dict(zip(("i", "h", "g"), np.eye(3), strict=True))
    result = slices.grid(weighted, np.zeros(3), units, axes)
    assert dict(result.sizes) == {"a": 2, "b": 1, "c": 3}
    assert len(result.attrs["cosines"]) == 3
    for where in np.ndindex(2, 1, 3):
        at = jnp.array([axis[i] for axis, i in zip(axes, where, strict=True)])
        assert float(result.cost[where]) == pytest.approx(float(weighted(at)), rel=1e-13)


@pytest.mark.parametrize("name", ["himmelblau", "beale", "rosenbrock"])
def test_the_curvature_along_an_eigenvector_is_its_eigenvalue(float64, name):
    """The remainder of C + e g.v + lambda e^2 / 2 is of third order in e."""
    known = gd.problems.FUNCTIONS[name]
    w = jnp.array(known.minima[0].x) + jnp.array([0.1, -0.05])  # a point with nonzero gradient
    H, g = np.asarray(jax.jit(jax.hessian(known.f))(w)), np.asarray(jax.jit(jax.grad(known.f))(w))
    values, vectors = np.linalg.eigh(H)
    steps = np.array([1e-2, 5e-3])
    for value, v in zip(values, vectors.T, strict=True):
        a = np.concatenate([[0], steps, -steps])
        curve = slices.line(known.f, w, v, a).cost.values
        rest = curve - curve[0] - a * (g @ v) - value * a**2 / 2
        third = np.abs(rest[1:3] - rest[3:]) / 2  # odd part: e^3 and higher
        assert np.log2(third[0] / third[1]) == pytest.approx(3, abs=0.1)
        bend = (curve[2] + curve[4] - 2 * curve[0]) / steps[1] ** 2
        assert bend == pytest.approx(value, abs=0.01 * np.abs(values).max())


# -- networks


@pytest.mark.long
@pytest.mark.parametrize("whole", [True, False])
def test_slices_of_a_network_agree_with_direct_evaluation(problem, whole):
    w, *ds = (jax.jit(problem.init)(jax.random.key(seed)) for seed in range(3))
    ds = dict(zip(("y", "x"), ds, strict=True))
    a, b = np.linspace(-2, 2, 9), np.linspace(-1, 0.5, 4)
    given = problem if whole else as_problem(problem.cost, problem.data)
    result = slices.plane(given, w, ds, a, b)
    assert result.attrs["evaluated"] == ("as a smaller network" if whole else "directly")
    assert result.attrs["samples"] == 1500
    cost = jax.jit(problem.cost)
    for i, j in ((0, 0), (8, 3), (3, 1), (6, 2)):
        direct = float(cost(at_coordinates(w, ds, [a[i], b[j]]), problem.data))
        assert float(result.cost[i, j]) == pytest.approx(direct, rel=2e-6)


@pytest.mark.long
def test_slices_record_metrics_in_addition_to_the_cost(problem):
    w, d = (jax.jit(problem.init)(jax.random.key(seed)) for seed in range(2))
    metrics = {**problem.metrics, "slope": slices.gradient_norm}
    result = slices.line(problem, w, d, [0.0, 0.5], metrics=metrics)
    point = at_coordinates(w, {"d": d}, [0.5])
    metric = problem.metrics["test_accuracy"]
    assert float(result.test_accuracy[1]) == pytest.approx(
        float(metric.measure(replace(problem, data=metric.data), point)), abs=1e-6
    )
    norm = optax.tree.norm(jax.jit(jax.grad(problem.cost))(point, problem.data))
    assert float(result.slope[1]) == pytest.approx(float(norm), rel=1e-4)
    assert result.test_accuracy.attrs == {"long_name": "test accuracy", "units": "1"}


def test_the_gradient_norm_on_a_bowl_equals_its_closed_form(float64):
    bowl = gd.problems.bowl([1.0, 10.0])
    result = slices.plane(
        bowl, jnp.zeros(2), {"x": jnp.array([1.0, 0]), "y": jnp.array([0, 1.0])},
        [-1, 0, 2], [0, 3], metrics={"slope": slices.gradient_norm},
    )  # fmt: skip
    x, y = np.meshgrid([-1, 0, 2], [0, 3], indexing="ij")
    np.testing.assert_allclose(result.slope, np.hypot(x, 10 * y), rtol=1e-13)


# -- computation


def test_slabs_are_narrower_if_memory_is_insufficient(problem, monkeypatch):
    w, d = (jax.jit(problem.init)(jax.random.key(seed)) for seed in range(2))
    a = np.linspace(-1, 1, 9)
    opaque = as_problem(problem.cost, problem.data)
    before = slices.line(opaque, w, d, a)
    widths, in_slabs = [], slabs.in_slabs
    monkeypatch.setattr(slabs, "memory_limit", lambda device: 2**20)
    monkeypatch.setattr(
        slabs,
        "in_slabs",
        lambda p, width, *a, **k: widths.append(width) or in_slabs(p, width, *a, **k),
    )
    after = slices.line(opaque, w, d, a)
    assert widths == [1]
    np.testing.assert_allclose(after.cost, before.cost, rtol=1e-5)


def test_grids_of_more_points_than_a_slab_share_one_compilation():
    traces = []

    def cost(w):
        traces.append(None)
        return 1.371 * jnp.sum(w**2)  # a cost of no other test, whose programs could be reused

    def look(side):
        before = len(traces)
        axis = np.linspace(0, 1, side)
        slices.plane(cost, jnp.zeros(2), {"x": jnp.ones(2), "y": jnp.arange(2.0)}, axis, axis)
        return len(traces) - before

    assert len(jax.local_devices()) * slices.WIDTH < 30**2
    first, again, larger = look(30), look(30), look(40)
    # Each call may trace the cost to check its type and to see whether it has changed.
    assert max(again, larger) <= 2 < first


def test_matrix_products_use_full_precision(problem):
    w, d = (jax.jit(problem.init)(jax.random.key(seed)) for seed in range(2))
    few = jax.tree.map(lambda a: a[:3], problem)
    metric = traced_metric("test_accuracy", problem, w)[1]
    for function, shared in (
        (slices._sliced, few),
        (partial(slices._measured, metric), few.data),
    ):
        text = str(jax.make_jaxpr(function)(jnp.ones(1), ((w, (d,)), shared)))
        products = text.split("dot_general[")[1:]
        assert len(products) == 3
        assert all("precision=(Precision.HIGHEST, Precision.HIGHEST)" in p[:400] for p in products)


# -- types of parameters, costs and data


def test_slices_accept_dicts_and_float16(float64):
    tree = {"b": [jnp.ones(2)], "a": jnp.array(1.0, jnp.float16)}
    cost = lambda w: jnp.sum(w["b"][0]) + w["a"].astype(float)  # noqa: E731
    result = slices.line(cost, tree, tree, [0.0, 2.0])
    assert result.cost.values.tolist() == [3.0, 9.0]


def test_costs_that_are_not_finite_are_recorded():
    result = slices.line(jnp.log, jnp.array(0.0), 1.0, [-1.0, 0.0, 1.0])
    np.testing.assert_array_equal(result.cost, [np.nan, -np.inf, 0.0])
