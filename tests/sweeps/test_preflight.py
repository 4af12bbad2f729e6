"""Checks and fit: widths of slabs, shapes of tiles, and checks of functions."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_problems import network

import gdjax as gd
from gdjax.problems.problem import Problem
from gdjax.sweeps import Sweep, axes, fit, zip_axes
from gdjax.sweeps.check import Asked, check
from gdjax.sweeps.fit import tile_shapes
from gdjax.sweeps.program import programs_of


@pytest.mark.parametrize(
    ("shape", "width", "tiles"),
    [
        ((12, 8), 16, [(2, 8), (4, 8), (8, 8), (12, 8)]),
        ((100,), 32, [(32,), (64,), (100,)]),
        ((3, 5), 16, [(3, 5)]),
        ((3, 40, 6), 16, [(1, 8, 6), (1, 16, 6), (1, 32, 6), (1, 40, 6), (2, 40, 6), (3, 40, 6)]),
        ((2, 3, 2), 1, [(1, 1, 1), (1, 1, 2), (1, 2, 2), (1, 3, 2), (2, 3, 2)]),
    ],
)
def test_tiles_are_boxes_of_consecutive_runs_that_fill_slabs(shape, width, tiles):
    assert list(tile_shapes(shape, width)) == tiles


@pytest.mark.parametrize(
    ("grid", "sizes"),
    [
        (axes(learning_rate=[0.1, 0.2, 0.3], seed=range(7)), [6, 4, 4, 6, 1]),
        (axes(batch_size=[2, 4], learning_rate=[0.1, 0.2, 0.3], seed=range(3)), [6, 3, 6, 3]),
        (axes(trial=zip_axes(batch_size=[2, 4] * 4, learning_rate=range(1, 9))), [2, 2, 2, 2]),
    ],
)
def test_runs_of_several_tiles_share_slabs(grid, sizes):
    """Only the last slab of a program has fewer runs than its width, two."""
    spec = Sweep(network(), grid, 3, batch_size=None if "batch_size" in grid.names else 4)
    tile = {dim: 3 if dim == "seed" else 1 for dim in grid.sizes}
    stored = {"layout": {"tile": tile}} if "seed" in tile else None
    fitted = fit.fit(check(Asked(spec, devices=jax.local_devices()[:1], stored=stored)))
    tiles = list(np.ndindex(fitted.schema.tiles))
    groups = fitted.groups(tiles)
    assert sorted(tile for group in groups for tile in group) == tiles
    counts = [sum(len(fitted.positions(tile)[0]) for tile in group) for group in groups]
    assert counts == sizes
    for group in groups:
        assert len({fitted.program_of(tile) for tile in group}) == 1


def test_the_width_depends_on_the_bytes_of_a_run_alone():
    """A run has parameters, their gradient, an activation per sample, and its mini-batch.

    Numbers that are computed from the data alone are not counted.
    """
    problem = Problem(
        init=lambda key: jnp.ones(100),
        cost=lambda w, batch: jnp.mean((jnp.tanh(batch / 255) @ w) ** 2),
        data=np.ones((1000, 100), np.float32),
    )
    for grid, batch_size, least in (
        (axes(learning_rate=[0.1], seed=range(3)), None, 800 + 4 * 1000),
        (axes(learning_rate=[0.1], seed=range(500)), 50, 800 + 4 * 50),
        (axes(learning_rate=[0.1], data_seed=range(3)), 50, 800 + 4 * 50 + 4 * 50 * 100),
    ):
        spec = Sweep(problem, grid, 5, batch_size=batch_size)
        (program,) = programs_of(spec, jax.local_devices())
        assert least <= fit.step_nbytes(program) <= 1.1 * least + 2 * 4 * 1000


def test_wider_slabs_are_for_smaller_runs():
    for widths in (fit.CPU_WIDTHS, fit.ACCELERATOR_WIDTHS):
        width, nbytes = np.array(widths, dtype=object).T
        assert np.all(np.diff(width) < 0)
        assert np.all(np.diff(nbytes) > 0)


def test_random_numbers_of_a_run_count_and_loops_and_shared_data_gain_from_width():
    def noisy(w, *, key):
        return jnp.sum(w) * jnp.mean(jax.random.normal(key, (1000,)))

    def looped(w, x):
        return jnp.mean(jax.lax.fori_loop(0, 3, lambda _, a: jnp.tanh(a), x @ w))

    def product(w, x):
        return jnp.mean(x @ w)

    x, rates = np.ones((400, 50), np.float32), {"learning_rate": [0.1]}

    def program_of(cost, data=x, **grid):
        problem = Problem(lambda key: jnp.ones(50), cost, data)
        spec = Sweep(problem, axes(**rates, **grid), 3, batch_size=None if data is None else 40)
        return programs_of(spec, jax.local_devices())[0]

    own, common = (program_of(noisy, None, **grid) for grid in ({"seed": range(2)}, {}))
    assert fit.step_nbytes(own) >= fit.step_nbytes(common) + 4 * 1000
    gains = [
        program_of(cost).facts.gains_from_width(samples, own_order=own)
        for cost in (looped, product)
        for samples, own in ((40, False), (400, False), (400, True))
    ]
    assert gains == [True, True, True, False, True, False]


@pytest.mark.parametrize("random", [False, True])
def test_records_take_no_more_memory_than_steps_and_leave_the_width(random):
    """A sample has 2 MiB of activations, so that a record of all 136 in one piece takes 272 MiB."""
    x = np.linspace(0, 1, 136, dtype=np.float32)
    waves = np.linspace(1, 2, 2**18, dtype=np.float32)

    def mean(w, x):
        return jnp.mean(w[0] * jnp.sin(w[1] * waves[None] * x[:, None]))

    def noisy(w, x, *, key):
        return mean(w, x) + 0 * jnp.mean(w[0] * jax.random.normal(key, (len(x),)))

    problem = Problem(lambda key: jnp.ones(2), noisy if random else mean, data=x)
    grid = axes(learning_rate=[1e-3], seed=range(2))
    few, every = (Sweep(problem, grid, 1, batch_size=8, record_samples=n) for n in (8, None))
    nbytes = []
    for sweep in (few, every):
        (program,) = programs_of(sweep, jax.local_devices())
        assert fit.slab_width(program) > 1
        assert program.largest_microbatch == 8
        nbytes.append(program.compiled_block.nbytes)
    assert nbytes[1] <= 1.05 * nbytes[0]
    angles = np.outer(x.astype(float), waves)
    start = jnp.ones(2)
    run = gd.descend(problem, optax.sgd(1e-3), start, 0, key=jax.random.key(0), batch_size=8)
    assert run.cost[0] == pytest.approx(np.sin(angles).mean(), rel=1e-5)


def test_a_program_is_compiled_once_for_all_values_and_equal_functions(compilations):
    """An equal sweep traces its functions only for the comparison with earlier programs.

    A sweep with other values, of a problem with new function objects, compiles nothing either.
    """
    calls, devices = [], jax.local_devices()[:1]

    def init(key):
        calls.append("init")
        return 0.771 * jnp.ones(2)  # of no other test, whose programs could be reused

    def cost(w, *, scale=1.0):
        calls.append("cost")
        return 0.771 * scale * jnp.sum(w**2)

    def norm(problem, w):
        calls.append("norm")
        return 0.771 * jnp.sum(w**2)

    def swept(problem, rates, **options):
        grid = gd.axes(learning_rate=rates, scale=[1.0, 2.0])
        return gd.sweep(problem, grid, 3, devices=devices, **options)

    problem = gd.Problem(init=init, cost=cost, metrics={"norm": norm})
    first = swept(problem, [0.1, 0.2])
    before = Counter(calls)
    assert before.keys() == {"init", "cost", "norm"}
    assert len(compilations) > 0
    calls.clear()
    compilations.clear()
    again = swept(problem, [0.1, 0.2])
    assert compilations == []
    assert all(count < before[name] for name, count in Counter(calls).items())
    np.testing.assert_array_equal(again.cost, first.cost)
    new = gd.Problem(
        init=lambda key: 0.771 * jnp.ones(2),
        cost=lambda w, *, scale: 0.771 * scale * jnp.sum(w**2),
        metrics={"norm": gd.Metric(lambda _, w: 0.771 * jnp.sum(w**2))},
    )
    swept(new, np.geomspace(0.01, 0.9, 24), root_seed=1)
    assert compilations == []


CONSTANT = np.random.default_rng(0).normal(size=2)
KEYS = jax.random.split(jax.random.key(0))


@pytest.mark.filterwarnings("ignore:sweep. the cost of every run is not finite")
@pytest.mark.parametrize(
    "init",
    [
        lambda key: jnp.asarray(CONSTANT),
        lambda key: CONSTANT,
        lambda key: np.full(2, np.nan),
        lambda key: jax.random.normal(KEYS[1], (2,)),
        lambda key: jax.nn.silu(jax.nn.relu(jnp.ones(2))),  # functions that define a derivative
    ],
)
def test_a_constant_init_is_accepted(init):
    problem = gd.Problem(init=init, cost=lambda w: jnp.sum(w**2))
    runs = gd.sweep(problem, gd.axes(learning_rate=[0.1], seed=range(2)), 1)
    expected = np.sum(np.asarray(init(None), np.float32) ** 2)
    np.testing.assert_allclose(
        runs.cost[..., 0], np.where(np.isnan(expected), np.inf, expected), rtol=1e-6
    )
