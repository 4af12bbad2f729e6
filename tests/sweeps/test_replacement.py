"""Mini-batches of samples drawn with replacement: closed form, stores, and errors."""

import json

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_problems import network, same_bits, stored

import gdjax as gd
from gdjax.base.errors import StoreError
from gdjax.descent import descend
from gdjax.sweeps import fit

AT = {"learning_rate": 0.1, "seed": 1, "scale": 1.0}
H, A = 2.3, 0.7
HALVES = gd.Problem(
    init=lambda key: jnp.ones(()),
    cost=lambda w, bends, *, bend=0.0: jnp.mean((bends + bend) * w**2) / 2,
    data=np.array([1.6, 3.0], np.float32),  # curvatures H - A and H + A of complementary halves
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("replacement") / "s.zarr"
    stored(path, replacement=True)
    return path


def test_complementary_halves_contract_as_in_their_closed_form(monkeypatch):
    """A shuffled pass multiplies w by (1 - eta H)^2 - eta^2 A^2.

    An independent step multiplies the mean of w^2 by (1 - eta H)^2 + eta^2 A^2.
    """
    monkeypatch.setattr(fit, "CPU_WIDTHS", ((500, 2**60),))
    grid = gd.axes(learning_rate=[0.5], data_seed=range(500))
    options = {"batch_size": 1, "snapshot_every": 1}
    shuffled, drawn = (
        gd.sweep(HALVES, grid, 6, replacement=r, **options)["snapshots"].values.squeeze()
        for r in (False, True)
    )
    passes = ((1 - 0.5 * H) ** 2 - (0.5 * A) ** 2) ** np.arange(4)
    np.testing.assert_allclose(shuffled[:, ::2], np.broadcast_to(passes, (500, 4)), rtol=1e-4)
    # Each of the first two steps multiplies w by one of two equally probable factors.
    factor = (1 - 0.5 * H) ** 2 + (0.5 * A) ** 2
    squares = (drawn[:, 1:3] / drawn[:, :2]) ** 2
    error = np.std(squares, axis=0) / np.sqrt(500)
    assert np.all(np.abs(squares.mean(axis=0) - factor) < 4 * error)
    assert abs(np.corrcoef(squares.T)[0, 1]) < 4 / np.sqrt(500)


def test_the_stability_limit_of_shuffled_halves_is_above_2_over_the_rate():
    """The limit of eta H is 1 + sqrt(1 + eta^2 A^2)."""
    shifts = 1 + np.sqrt(1 + A**2) - H + np.array([-0.02, 0.02])
    grid = gd.axes(learning_rate=[1.0], bend=shifts, data_seed=range(8))
    runs = gd.sweep(HALVES, grid, 400, batch_size=1, record_every=400)
    below, above = runs.cost.isel(step=-1, learning_rate=0).transpose("bend", ...).values
    assert below.max() < 1e-3 < 1e3 < above.min()


def test_a_store_with_replacement_reopens_bitwise_and_only_with_replacement(store, tmp_path):
    whole = gd.open_dataset(store).load()
    assert json.loads(whole.attrs["identity"])["replacement"] is True
    assert same_bits(stored(store, replacement=True).load(), whole)
    assert gd.sweeps.run_of(store, AT, network(watched=True)).replacement
    shuffled = stored(None)
    assert "replacement" not in json.loads(shuffled.attrs["identity"])
    assert not same_bits(shuffled.cost, whole.cost)
    with pytest.raises(StoreError, match=r"replacement: stored True, expected nothing"):
        stored(store)


def test_a_descent_equals_the_run_of_a_sweep():
    problem = network()
    grid = gd.axes(learning_rate=[0.1], seed=[3], data_seed=[5])
    run = gd.sweep(problem, grid, 12, batch_size=6, replacement=True)
    keys = gd.run_keys(0, seed=3, data_seed=5)
    alone = descend(
        problem, optax.sgd(0.1), problem.init(keys.init), 12, key=keys, batch_size=6,
        replacement=True,
    )  # fmt: skip
    np.testing.assert_allclose(alone.cost, run.cost.values.squeeze(), rtol=1e-5)
