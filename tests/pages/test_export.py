"""Export of the histories of runs, and of chains to ArviZ."""

import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdjax as gd
from gdjax.descent import Outcome
from gdjax.landscape.learning_coefficient import LocalLearningCoefficient, extrapolate

BOWL = gd.problems.bowl([1.0, 9.0])
GRID = gd.axes(learning_rate=[0.05, 0.1, 9.0], seed=range(4))


def test_each_exported_run_has_its_settings_records_and_outcome():
    runs = gd.sweep(BOWL, GRID, 200, record_every=50)
    result = list(gd.sweeps.histories(runs))
    assert len(result) == 12
    for run in result:
        cell = runs.sel(run.at)
        np.testing.assert_array_equal(run.step, runs.step)
        assert set(run.records) == {"cost", "gradient_norm"}
        for name, values in run.records.items():
            np.testing.assert_array_equal(values, cell[name])
        assert run.outcome == int(cell.outcome)
        assert run.diverged_at == (int(cell.diverged_at) if int(cell.diverged_at) >= 0 else None)
    outcomes = {run.at["learning_rate"]: run.outcome for run in result}
    assert outcomes[9.0] is Outcome.DIVERGED


def test_all_zipped_axes_are_in_the_settings():
    pairs = gd.zip_axes(learning_rate=[0.1, 0.2], momentum=[0.0, 0.5])
    (first, second) = gd.sweeps.histories(gd.sweep(BOWL, gd.axes(pair=pairs), 5))
    for run, (rate, momentum) in ((first, (0.1, 0.0)), (second, (0.2, 0.5))):
        assert {**run.at, "learning_rate": rate, "momentum": momentum} == run.at


def test_runs_are_exported_while_their_store_is_being_written(tmp_path):
    store = tmp_path / "runs"
    work = threading.Thread(
        target=gd.sweep,
        args=(BOWL, GRID, 2000),
        kwargs={"store": store, "record_every": 500},
    )
    work.start()
    while work.is_alive() and not (store / "zarr.json").exists():
        time.sleep(0.01)
    result = list(gd.sweeps.histories(store, poll_seconds=0.01))
    work.join()
    settings = [tuple(run.at.values()) for run in result]
    assert len(settings) == len(set(settings)) == 12
    stored = gd.open_dataset(store)
    for run in result:
        np.testing.assert_array_equal(run.records["cost"], stored.cost.sel(run.at))


def sampled(key):
    return gd.landscape.finite_temperature_coefficient(
        lambda w: w @ w / 2,
        jnp.zeros(2),
        key=key,
        inverse_temperature=1e4,
        whitening=gd.landscape.Whitening(jnp.full(2, 0.01)),
        num_samples=200,
        num_warmup=50,
        num_integration_steps=8,
    )


@pytest.fixture(scope="module")
def chains():
    """Return two sampled coefficients, vmapped over keys."""
    return jax.jit(jax.vmap(sampled))(jax.random.split(jax.random.key(0)))


def test_exported_chains_have_the_groups_of_arviz(chains):
    one = jax.tree.map(lambda array: array[0], chains)
    tree = gd.pages.export.arviz(one)
    posterior, stats = tree["posterior"], tree["sample_stats"]
    for group in (posterior, stats):
        assert group.attrs["sample_dims"] == ["chain", "draw"]
        assert group.attrs["inference_library"] == "gdjax"
    assert posterior["coefficient"].dims == ("chain", "draw")
    assert dict(posterior.sizes) == {"chain": 16, "draw": 200}
    per_chain = posterior["coefficient"].mean("draw")
    np.testing.assert_allclose(per_chain, one.chain_coefficients, rtol=1e-5)
    distance = np.sqrt(posterior["squared_distance"].mean())
    np.testing.assert_allclose(distance, one.distance, rtol=1e-5)
    assert stats["status"].item() == "AGREED"
    np.testing.assert_allclose(stats["step_size"], one.step_size)


def test_arviz_summarizes_exported_chains(chains):
    arviz = pytest.importorskip("arviz")
    summary = arviz.summary(gd.pages.export.arviz(jax.tree.map(lambda array: array[0], chains)))
    np.testing.assert_allclose(
        float(summary["mean"]["coefficient"]), chains.coefficient[0], atol=1e-3
    )


def test_the_temperature_is_the_last_dimension(chains):
    several = LocalLearningCoefficient(*jnp.ones(3), jnp.array([1e3, 1e4]), chains)
    posterior = gd.pages.export.arviz(several)["posterior"]
    assert posterior["coefficient"].dims == ("chain", "draw", "inverse_temperature")
    np.testing.assert_array_equal(
        posterior["coefficient"].sel(inverse_temperature=1e4), chains.samples[1]
    )


@pytest.mark.long
def test_results_without_chains_or_of_several_keys_are_rejected(chains):
    limit = extrapolate(jnp.array([1e3, 1e4, 1e5]), jnp.ones(3), jnp.ones(3))
    for result in (limit, chains, chains._replace(samples=None)):
        with pytest.raises(gd.errors.InputError, match="to select one of several minima"):
            gd.pages.export.arviz(result)
