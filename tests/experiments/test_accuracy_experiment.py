"""The accuracy experiment: paired gains of changes, and accuracies of recipes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr
from scipy import stats

import gdjax as gd
from experiments.accuracy import __main__ as accuracy
from experiments.accuracy import model as methods
from gdjax.problems import Distortion
from gdjax.problems.augmentation import warped


def study():
    """Return a tree of three variants and two recipes, with known gains."""
    rungs = np.array([[0.90, 0.92, 0.94], [0.91, 0.94, 0.95]])
    of_variant, of_recipe = ("variant", "seed"), ("recipe", "seed")
    ladder = xr.Dataset(
        {
            "validation_accuracy": (of_variant, rungs),
            "averaged_accuracy": (of_variant, rungs + 0.01),
        },
        {"variant": ["decayed", "distorted copies"]},
    )
    tried = xr.Dataset(
        {"validation_accuracy": (of_variant, [[0.89, 0.92, np.nan], [0.9, 0.94, 0.95]])},
        {"variant": ["Adam", "slow"], "against": ("variant", ["distorted copies"] * 2)},
    )
    test = xr.Dataset(
        {"accuracy": (of_recipe, [[0.5, 0.5], [0.75, 1.0]])}, {"recipe": ["plain", "best"]}
    )
    short = xr.Dataset(
        {"accuracy": (of_recipe, [[0.8, 0.9], [0.9, 0.9]])}, {"recipe": ["plain", "quick"]}
    )
    parts = {"ladder": ladder, "tried": tried, "test": test, "short": short}
    return xr.DataTree.from_dict(parts)


def test_gains_are_paired_by_start():
    variants = accuracy.numbers(study())["variant"]
    difference = np.array([0.01, 0.02, 0.01])
    expected = stats.ttest_1samp(difference, 0).confidence_interval(0.95)
    mean, half = variants["distorted copies"]["gain"]
    np.testing.assert_allclose([mean - half, mean + half], [expected.low, expected.high])
    corrected = stats.ttest_1samp([-0.01, 0, 0], 0).confidence_interval(1 - 0.05 / 2)
    mean, half = variants["slow"]["corrected_gain"]
    np.testing.assert_allclose([mean - half, mean + half], [corrected.low, corrected.high])
    # One value is missing, so only two of the three starts are compared.
    np.testing.assert_allclose(variants["Adam"]["gain"], (-0.02, 0), atol=1e-12)
    averaged = accuracy.averaging_gains(study())
    np.testing.assert_allclose(averaged["distorted copies"], (0.01, 0), atol=1e-12)


def test_the_summary_equals_values_computed_by_hand():
    recipes = accuracy.numbers(study())["recipe"]
    best = recipes["best"]
    assert (best["test"][0], best["lowest"], best["highest"]) == (0.875, 0.75, 1.0)
    assert best["gain_over_plain"][0] == 0.375
    assert "gain_over_plain" not in recipes["plain"]
    assert recipes["quick"]["bundled"][0] == pytest.approx(0.9)


def test_the_quadratic_loss_accepts_soft_targets():
    outputs, labels = jnp.array([[0.2, 0.7]]), jnp.array([1])
    soft = methods.quadratic_with_targets(0.1, 0.9)(outputs, labels)
    np.testing.assert_allclose(soft, [0.1**2 + 0.2**2], rtol=1e-6)
    hard = methods.quadratic_with_targets(0.0, 1.0)(outputs, labels)
    np.testing.assert_allclose(hard, gd.problems.quadratic(outputs, labels))


# One variant for each kind of change: images, targets and optimizer. The other variants differ from
# these only in numerical settings.
RUNGS = ("plain", "distorted copies", "longer", "100 epochs")
CHANGES = ("targets 0.05 and 0.95", "Adam", "fresh copies")


def test_a_small_study(tmp_path, monkeypatch, drawn):
    fewer = {k: dataclasses.replace(recipe, epochs=6) for k, recipe in methods.RECIPES.items()}
    for module in (methods, accuracy):
        monkeypatch.setattr(module, "RECIPES", fewer)
    for name, chosen in (("ladder", RUNGS), ("single_changes", CHANGES)):
        variants = {k: getattr(methods, name)(2)[k] for k in chosen}
        longest = variants[chosen[-1]].recipe
        variants[chosen[-1]] = variants[chosen[-1]]._replace(
            recipe=dataclasses.replace(longest, epochs=min(longest.epochs, 6))
        )
        monkeypatch.setattr(accuracy, name, lambda epochs, variants=variants: variants)
    small = methods.Config(
        data="mnist5k",
        held_out=3800,
        epochs=2,
        seeds=2,
        fewer_seeds=1,
        test_seeds=2,
        store=tmp_path,
    )
    tree = accuracy.run(small)
    assert accuracy.numbers(tree)["variant"]["fresh copies"]["seeds"] == 1
    drawn(accuracy, tree)
    # The tested networks are trained on all 4,000 images, and those of the ladder on 200.
    results = tree["test"].to_dataset()
    assert float(results.accuracy.sel(recipe="best").min()) > 0.85


def test_fresh_copies_differ_between_steps_and_records_use_the_original_images():
    images = np.random.default_rng(0).integers(0, 256, (6, 25), np.uint8)
    weights = np.random.default_rng(0).normal(size=25)
    problem = gd.Problem(
        init=lambda key: jnp.asarray(weights),
        cost=lambda w, batch: jnp.mean((batch[0] / 255) @ w),
        data=(images, np.zeros(6)),
    )
    amount = Distortion(copies=7, shift=1.0, max_rotation=0.3, seed=4)
    fresh = methods.freshly_distorted(problem, (5, 5), amount)
    keys = jax.random.split(jax.random.key(0), 2)
    costs = [float(fresh.cost(jnp.asarray(weights), fresh.data, key=key)) for key in keys]
    assert costs[0] != costs[1]
    draws = jax.random.uniform(keys[0], (6, 3), minval=-1.0, maxval=1.0)
    copies = warped(images.reshape(6, 5, 5), draws[:, :2] * 1.0, draws[:, 2] * 0.3)
    expected = np.mean(np.asarray(copies).reshape(6, 25) / 255 @ weights)
    np.testing.assert_allclose(costs[0], expected, rtol=1e-5)
    run = gd.descend(fresh, optax.sgd(0.0), jnp.asarray(weights), 2, key=jax.random.key(1))
    np.testing.assert_allclose(run.cost, np.mean(images / 255 @ weights), rtol=1e-5)
