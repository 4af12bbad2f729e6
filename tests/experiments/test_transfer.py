"""The transfer experiment: parametrizations, known regrets, and a small run."""

import jax
import numpy as np
import pytest

from experiments.transfer import __main__ as transfer

RATES = 2.0 ** np.arange(-4, 5)


def parabola(best):
    """Return costs of four starts; log costs are quadratic in the log rate."""
    log = np.log(RATES[:, None] / best)
    return np.exp(0.3 * log**2) * np.array([1.0, 1.1, 1.2, 1.3])


def test_known_best_and_good_rates_are_recovered():
    cost = np.median(parabola(1.3), axis=1)
    assert transfer.best_rate(RATES, cost) == pytest.approx(1.3)
    low, high = transfer.good_rates(RATES, cost)
    assert low < 1.3 < high
    assert transfer.good_rates(RATES, np.arange(1.0, 10.0))[0] == RATES[0]
    assert transfer.best_rate(RATES, np.arange(1.0, 10.0)) == RATES[0]


def test_a_known_shift_and_regret_are_recovered():
    narrow, wide = parabola(2.0), parabola(0.5)
    np.testing.assert_allclose(transfer.shift(RATES, narrow, wide), 0.25, rtol=1e-6)
    expected = np.exp(0.3 * np.log(4) ** 2)
    np.testing.assert_allclose(transfer.regrets(narrow, wide), expected)
    np.testing.assert_allclose(transfer.regrets(wide, wide), 1)


def test_all_parametrizations_agree_at_the_base_width_only():
    base = {"base_width": 16, "layers": 3}
    for name in transfer.PARAMETRIZATIONS:
        for optimizer in transfer.OPTIMIZERS:
            factors = transfer.rate_factors(name, optimizer, 16, **base)
            assert factors == ((1.0, 1.0),) * 3
    factors = transfer.rate_factors("mup", "adam", 64, **base)
    assert factors == ((1.0, 1.0), (0.25, 1.0), (0.25, 1.0))


def test_updates_and_initial_weights_are_scaled_by_the_tabulated_factors():
    problem = transfer.gd.problems.digits("mnist5k", widths=(64, 64), activation="tanh", samples=20)
    wide = transfer.parametrized(problem, "mup", base_width=16)
    params, plain = (p.init(jax.random.key(0)) for p in (wide, problem))
    np.testing.assert_allclose(params[-1].weights, plain[-1].weights / 2, rtol=1e-6)
    np.testing.assert_array_equal(params[1].weights, plain[1].weights)
    factory = transfer.make_optimizer("mup", "descent", 64, base_width=16, layers=3)
    ones = jax.tree.map(lambda a: 0 * a + 1, params)
    rule = factory(0.5)
    steps, _ = rule.update(ones, rule.init(params), params)
    scales = [(float(layer.weights[0, 0]), float(layer.bias[0])) for layer in steps]
    assert scales == [(-2.0, -2.0), (-0.5, -2.0), (-0.125, -0.5)]


def test_the_summary_and_figures_of_a_small_run_are_complete(monkeypatch, drawn):
    monkeypatch.delitem(transfer.PARAMETRIZATIONS, "ntp")
    monkeypatch.delitem(transfer.OPTIMIZERS, "descent")
    config = transfer.Config(
        widths=(4, 8),
        pixel_stride=7,
        rates=3,
        seeds=2,
        steps=4,
        record_samples=20,
    )
    tree = transfer.run(config)
    adam = transfer.numbers(tree)["optimizer"]["adam"]["parametrization"]
    assert len(adam["mup"]["regret"]) == 1
    costs = tree["adam"].cost.sel(width=4)
    np.testing.assert_array_equal(costs[0], costs[1])  # the base width
    assert set(drawn(transfer, tree)) == {"transfer"}
