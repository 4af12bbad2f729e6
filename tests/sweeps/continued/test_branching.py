"""Branches: runs that leave a stored run at a step, with different settings."""

import contextlib
import dataclasses
import json
import shutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from mutants import reseal
from small_problems import same_bits

import gdjax as gd
from gdjax.base.errors import InputError, StoreError
from gdjax.sweeps.continued.branch_spec import direction, one_weight
from gdjax.sweeps.continued.stored import StoredSweep

OPTIMIZER = partial(optax.sgd, momentum=0.5)
OPTIONS = {"make_optimizer": OPTIMIZER, "batch_size": 2, "record_every": 3}
LINE = gd.Problem(
    init=lambda key: {"a": jax.random.normal(key, (2,)), "b": jnp.zeros(())},
    cost=lambda w, batch: jnp.mean((batch @ w["a"] + w["b"] - 1) ** 2),
    data=jnp.arange(8.0).reshape(4, 2) / 10,
)
USERS = {"problem": LINE, "make_optimizer": OPTIMIZER}  # required to continue a store
AT = {"learning_rate": 0.4, "seed": 1}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("branching") / "s.zarr"
    grid = gd.axes(learning_rate=[0.1, 0.4], seed=[0, 1])
    gd.sweep(LINE, grid, 12, store=path, **OPTIONS)
    return path


@pytest.fixture(scope="module")
def branches(store, tmp_path_factory):
    path = tmp_path_factory.mktemp("branches") / "b.zarr"
    grid = gd.axes(branch_step=[0, 6, 7, 12], perturbation=[0.0, 0.5], perturbation_seed=[0, 1])
    return path, gd.branch(store, AT, grid, to=path, **USERS)


@pytest.mark.long
def test_an_unperturbed_branch_is_bitwise_equal_to_the_run(store, branches):
    with gd.open_dataset(store) as dataset:
        own = dataset.sel(AT).load()
    result = branches[1].isel(learning_rate=0, seed=0)
    for step in result.branch_step.values:
        for seed in (0, 1):
            branch = result.sel(branch_step=step, perturbation=0, perturbation_seed=seed)
            late = branch.step >= step
            for name in ("cost", "batch_cost", "gradient_norm"):
                assert same_bits(branch[name][late], own[name][late.values])
                assert np.isnan(branch[name][~late]).all()
            for name in ("params.a", "params.b", "outcome"):
                assert same_bits(branch[name], own[name])


def test_a_perturbation_has_the_requested_norm(branches):
    last = branches[1].sel(branch_step=12).isel(learning_rate=0, seed=0)
    away = last - last.sel(perturbation=0)
    squares = (away["params.a"] ** 2).sum("a[0]") + away["params.b"] ** 2
    np.testing.assert_allclose(np.sqrt(squares), [[0, 0], [0.5, 0.5]], rtol=1e-5)
    kinds = away["params.a"].sel(perturbation=0.5)
    assert np.abs(kinds[0] - kinds[1]).max() > 0.01


def test_perturbed_branches_differ_and_can_be_replayed_but_not_branched(branches):
    path, result = branches
    assert len(np.unique(result.cost.sel(perturbation=0.5).values[..., -1])) == 8
    where = {"branch_step": 6, "perturbation": 0.5, "perturbation_seed": 1, **AT}
    assert gd.replay(path, where, **USERS).equal
    assert same_bits(gd.resume(path, **USERS).cost, result.cost)
    with pytest.raises(InputError, match="contains branches; branch from the original sweep with"):
        gd.branch(path, where, gd.axes(branch_step=[7]), **USERS)


@pytest.mark.long
def test_a_branch_may_have_different_settings_and_a_different_order_of_samples(store):
    grid = gd.axes(branch_step=[6], learning_rate=[0.1, 0.4])
    result = gd.branch(store, AT, grid, num_steps=15, **USERS)
    assert result.step.values.tolist() == [6, 9, 12, 15]
    other, same = result.cost.squeeze().values
    own = gd.open_dataset(store).cost.sel(AT)
    assert same_bits(same[:3], own.sel(step=[6, 9, 12]))
    assert same_bits(other[0], same[0])
    assert (other[1:] != same[1:]).all()
    orders = gd.branch(store, AT, gd.axes(branch_step=[6], data_seed=[0, 1]), **USERS)
    costs = orders.cost.isel(branch_step=0, learning_rate=0, seed=0).transpose("data_seed", "step")
    np.testing.assert_allclose(costs[0], own.sel(step=costs.step), rtol=1e-4)
    assert abs(costs[1, -1] - costs[0, -1]) > 1e-4


@pytest.mark.parametrize("batch_size", [4, None])
def test_a_changed_batch_size_applies_from_the_branch_step_on(store, tmp_path, batch_size):
    path, grid = tmp_path / "b", gd.axes(branch_step=[6])
    branch = gd.branch(store, AT, grid, batch_size=batch_size, to=path, **USERS)
    costs, own = branch.cost.squeeze(), gd.open_dataset(store).cost.sel(AT)
    np.testing.assert_allclose(costs[0], own.sel(step=6), rtol=1e-5)
    assert abs(costs[1] - own.sel(step=9)) > 1e-4
    assert json.loads(branch.attrs["identity"])["trunk_settings"] == {"batch_size": 2}
    assert same_bits(gd.resume(path, **USERS).cost, branch.cost)
    assert gd.replay(path, {"branch_step": 6, **AT}, **USERS).equal


def test_branches_of_several_batch_sizes_share_the_trunk_of_the_store(store):
    grid = gd.axes(branch_step=[6], batch_size=[2, 4])
    costs = gd.branch(store, AT, grid, batch_size=None, **USERS).cost.squeeze()
    own = gd.open_dataset(store).cost.sel(AT).sel(step=costs.step)
    assert same_bits(costs.sel(batch_size=2), own)
    np.testing.assert_allclose(costs.sel(batch_size=4)[0], own[0], rtol=1e-5)
    assert abs(costs.sel(batch_size=4)[1] - own[1]) > 1e-4


def test_settings_of_the_trunk_are_recorded_only_where_they_differ(store, branches, tmp_path):
    assert "trunk_settings" not in json.loads(branches[1].attrs["identity"])
    first, second = tmp_path / "first", tmp_path / "second"
    one_run = gd.axes(**{axis: [value] for axis, value in AT.items()})
    options = {**OPTIONS, "divergence_threshold": np.inf, "replacement": True}
    gd.sweep(LINE, one_run, 12, store=first, **options)
    grid = gd.axes(branch_step=[6])
    branch = gd.branch(first, AT, grid, divergence_threshold=1e-9, to=second, **USERS)
    assert branch.diverged_at.item() == 6
    recorded = StoredSweep(second).identity["trunk_settings"]
    assert recorded == {"divergence_threshold": "inf"}
    assert StoredSweep(second, LINE, OPTIMIZER).sweep.trunk_spec().divergence_threshold == np.inf
    assert gd.replay(second, {"branch_step": 6, **AT}, **USERS).equal


@pytest.mark.usefixtures("user_settings")
@pytest.mark.parametrize("record", [None, {"num_steps": 3}, {"batch_size": "2"}])
def test_an_invalid_record_of_the_settings_of_a_trunk_is_rejected(branches, tmp_path, record):
    path = shutil.copytree(branches[0], tmp_path / "b")
    reseal(path, trunk_settings=record)
    with pytest.raises(StoreError, match=r"(trunk_settings|batch_size) = .*, expected"):
        gd.resume(path, **USERS)


def test_a_branch_of_a_converged_run_takes_steps_only_if_it_differs_from_the_run(tmp_path):
    grid, at = gd.axes(learning_rate=[0.1], seed=[0]), {"learning_rate": 0.1, "seed": 0}
    settings = {"store": tmp_path, "stop_when_converged": True}
    run = gd.sweep(gd.problems.bowl([1.0, 9.0]), grid, 700, **settings)
    branches = gd.axes(branch_step=[500], perturbation=[0.0, 1.0])
    result = gd.branch(tmp_path, at, branches).squeeze()
    assert not any(name.startswith("carry") for name in result)  # the stored sweep has them
    same, moved = result.cost
    assert same_bits(same, run.cost.squeeze().sel(step=same.step))
    assert (result.outcome == gd.descent.Outcome.CONVERGED).all()
    grid = gd.axes(branch_step=[500])
    further = gd.branch(tmp_path, at, grid, stop_when_converged=False).cost.squeeze()
    for cost in (moved, further):  # the remaining error contracts by |1 - 0.1 * 1|
        assert float(cost[20] / cost[10]) == pytest.approx(0.9**20, rel=1e-3)


def test_the_trunk_stops_at_the_records_of_the_sweep(tmp_path):
    """Convergence is detected at records, which are more frequent in the branch."""
    grid, at = gd.axes(learning_rate=[0.1], seed=[0]), {"learning_rate": 0.1, "seed": 0}
    settings = {"store": tmp_path, "stop_when_converged": True, "record_every": 100}
    run = gd.sweep(gd.problems.bowl([1.0, 9.0]), grid, 700, **settings).cost.squeeze()
    branch = gd.branch(tmp_path, at, gd.axes(branch_step=[500]), record_every=10).cost.squeeze()
    assert branch.sizes["step"] == 21
    assert float(run.sel(step=200)) > 0
    assert (branch == run.sel(step=700)).all()
    with pytest.raises(InputError, match="eval_params_fn: expected that of the sweep"):
        gd.branch(tmp_path, at, gd.axes(branch_step=[500]), eval_params_fn=lambda state, w: w)


SHORT = {"learning_rate": [0.05], "seed": [0]}
WATCHED = dataclasses.replace(
    LINE, metrics={"weights": gd.Metric(lambda _, w: w["a"], every=2, dims=("weight",))}
)
BRANCHES = {"branch_step": [0, 10], "perturbation": [0.0, 0.5]}


@pytest.mark.parametrize(
    ("stored", "wider", "steps", "continuable"),
    [
        (BRANCHES, BRANCHES, 40, False),
        (BRANCHES, BRANCHES, 40, True),
        (BRANCHES, {**BRANCHES, "perturbation": [0.0, 0.5, 1.0]}, 40, True),
        ({**BRANCHES, "branch_step": [10]}, BRANCHES, None, True),  # an earlier step
    ],
)
def test_extended_branches_are_bitwise_equal_to_branches_computed_at_once(
    tmp_path, first_steps, stored, wider, steps, continuable
):
    """Further steps continue from the state of stored branches, if it was kept."""
    run, branches, new = (tmp_path / name for name in ("run", "branches", "new"))
    at = {axis: value for axis, (value,) in SHORT.items()}
    options = {"problem": WATCHED, "make_optimizer": optax.adam}
    settings = {"snapshot_every": 4, "continuable": continuable}
    gd.sweep(axes=gd.axes(**SHORT), num_steps=20, store=run, **options, **settings)
    gd.branch(run, at, gd.axes(**stored), to=branches, **options)
    settings = {"num_steps": steps or 20, "continuable": False}
    whole = gd.branch(run, at, gd.axes(**wider), **options, **settings)
    first_steps.clear()
    message = "the state for further steps was not stored"
    with contextlib.nullcontext() if continuable else pytest.warns(UserWarning, match=message):
        more = gd.extend(branches, gd.axes(**wider, **SHORT), steps, to=new, **options)
    assert {n for n in whole.data_vars if not same_bits(whole[n], more[n])} == set()
    assert gd.stores.verify(new) == []
    assert (20 in first_steps) == (continuable and steps is not None)
    if continuable and wider == stored:
        assert set(first_steps) == {20}


def difference(a, b):
    away = jax.tree.map(np.subtract, a, b)
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(away)])


@pytest.mark.long
def test_a_perturbation_changes_one_weight_or_all():
    w = {"a": jnp.full((3,), -0.0), "b": jnp.ones((2, 2))}
    chosen = []
    for seed in range(20):
        key = jax.random.key(seed)
        flat = difference(one_weight(key, w, 0.5), w)
        assert sorted(np.abs(flat)) == [0] * 6 + [0.5]
        chosen.append(int(np.argmax(np.abs(flat))))
        still = direction(key, w, 0.0)
        assert all(same_bits(a, b) for a, b in zip(*map(jax.tree.leaves, (still, w)), strict=True))
        length = np.linalg.norm(difference(direction(key, w, 2.0), w))
        np.testing.assert_allclose(length, 2.0, rtol=1e-5)
    assert len(set(chosen)) > 4
