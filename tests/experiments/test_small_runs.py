"""Small runs of the experiments: what is known of their results, and all of their figures.

Each function below is named after an experiment, has the settings of its small run, and checks the
results and the entries of the summary.
"""

import importlib

import numpy as np
import pytest

from experiments.basins.__main__ import beyond, lines
from experiments.batch_sizes.__main__ import last_epochs
from experiments.edge_of_stability.__main__ import late_ratios
from experiments.grokking.__main__ import delays
from experiments.render import RESULTS
from experiments.shared.trees import datasets

SMALL: dict = {}


def small(**settings):
    """Register the small run of an experiment, with its settings and its check."""

    def register(check):
        SMALL[check.__name__] = settings, check
        return check

    return register


@small(
    adam_rates=(0.004,),
    rmsprop_rates=(0.001,),
    steps=4000,
    digit_adam_rates=(0.01,),
    digit_rmsprop_rates=(0.01,),
    digit_steps=8,
    starts=2,
    digits=20,
    records=40,
    digit_records=4,
)
def adaptive_edge(_, numbers):
    assert numbers["chebyshev_adam_limit"] == pytest.approx(38)
    assert numbers["chebyshev_adam_late"][0][0] == pytest.approx(38, rel=0.05)
    assert numbers["chebyshev_rmsprop_late"][0][0] == pytest.approx(2, rel=0.08)


@small(images=100, hidden=4, seeds=3, whole=2, steps=300, directions=32)
def basin_volumes(results, numbers):
    """The cost is that of a network; for a quadratic cost, volumes would be exact."""
    assert numbers["parameters"] == 310
    assert numbers["diagonal_gain"][0] > 0
    assert numbers["Hessian_gain"][0] > 0
    measured = np.isfinite(results.log_volume.sel(known="Hessian").values)
    assert measured.tolist() == [True, True, False]


@small(
    functions=("himmelblau", "rastrigin"),
    side=24,
    steps=1000,
    rates=(0.2, 0.5, 0.9, 1.1),
    momenta=(0.0, 0.5),
    drawn=(0, 3),
)
def basins(results, numbers):
    himmelblau, rastrigin = datasets(results).values()
    for name in ("himmelblau", "rastrigin"):
        assert numbers[f"{name}_held_beyond_limit_most"] == 0
        assert numbers[f"{name}_half_arrives_up_to_0"] >= 0.9
    # Only the limit of the sharpest minimum is below the largest rate; momentum raises this limit.
    assert beyond(himmelblau).sum(axis=(0, 2)).tolist() == [1, 0]
    # The limits follow from the eigenvalues; those of Rastrigin's function lie within 2 %.
    assert numbers["himmelblau_limit_least"] == pytest.approx(2 / 133.786, rel=1e-5)
    assert numbers["himmelblau_limit_most"] == pytest.approx(2 / 80.550, rel=1e-5)
    least, most = numbers["rastrigin_limit_least"], numbers["rastrigin_limit_most"]
    assert 2 / (2 + 40 * np.pi**2) == pytest.approx(least, rel=1e-6)
    assert least < most < 1.02 * least
    # At half the limit, no step on Rastrigin's function is long enough to cross a maximum.
    assert numbers["rastrigin_elsewhere_at_0.5"] == 0
    assert numbers["himmelblau_elsewhere_at_0.9"] > numbers["himmelblau_elsewhere_at_0.5"] >= 0
    assert numbers["himmelblau_elsewhere_with_momentum_0"] == 0
    # Equivalent minima are combined into one line.
    names, first, share, limit = lines(rastrigin)
    like = ["4 like (-0.995, 0)", "4 like (-0.995, -0.995)", "the 112 other minima"]
    assert names == ["(0, 0)", *like]
    assert first[0] == 0
    np.testing.assert_allclose(share[0, 0].sum(), 1)
    assert limit.shape == (2, 4)


@small(batch_sizes=(32, 4000), epochs=(2, 3), rates=3, seeds=2, timed_epochs=1, repeats=1)
def batch_sizes(results, numbers):
    assert numbers["equal_epochs_32_cost"][0] < 0.5
    assert numbers["equal_epochs_4000_cost"][0] > 0.8
    assert numbers["equal_epochs_32_accuracy"][0] > 0.7
    assert numbers["epochs_to_half_32"] <= 2
    assert numbers["epochs_to_half_4000"] == np.inf
    assert last_epochs(results).tolist() == [2, 3]
    assert results.batch_size.values.tolist() == [32, 4000]
    assert np.all(results.seconds_an_epoch > 0)
    # The cost before the first step is independent of the batch size.
    first, second = results.cost.isel(epoch=0).values
    np.testing.assert_allclose(first, second, rtol=1e-5)


@small(
    samples=300,
    width=4,
    epochs=2,
    branch_steps=(0, 5, 20, 999),
    perturbations=(0.0, 0.5),
    trunks=2,
    changes=1,
    points=5,
)
def branching(results, _):
    """The barrier is zero without a change, and small after rounding errors."""
    np.testing.assert_allclose(results.barrier.sel(perturbation=0), 0, atol=1e-6)
    np.testing.assert_allclose(results.floor, 0, atol=1e-6)
    assert (results.independent > 1e-4).all()
    assert 999 not in results.branch_step


@small(shares=(0.5, 7.0, 14), widths=(64,), starts=4, examples=2, steps=60, rates=(0.9, 2.0, 2048))
def catapult(_, numbers):
    assert numbers["two_numbers_apart"] < 1e-9
    assert 3 <= numbers["edge_linear_64_examples_1"][0] <= 4.5
    assert numbers["smooth_below_1.9_linear"] > 0.9
    assert numbers["first_doubling"] == pytest.approx(1, abs=0.01)
    assert numbers["second_doubling"] == pytest.approx(np.sqrt(5) - 1, abs=0.01)
    assert 1.28 < numbers["first_chaos"] < 1.4


@small(
    rates=(0.1, 0.3),
    starts=2,
    widths=(4,),
    width_rates=(0.1,),
    width_starts=2,
    steps=300,
    digits=20,
    digit_rates=(1.0,),
    digit_starts=2,
    digit_steps=20,
    eigenvectors=2,
)
def central_flow(results, numbers):
    """The flows start at the starting points of the descents."""
    for part in datasets(results).values():
        start = part.isel(step=0)
        np.testing.assert_allclose(start.center, start.cost, rtol=1e-4)
        np.testing.assert_allclose(start.plain, start.cost, rtol=1e-4)
    assert numbers["width_16_rate_0.1_mean_median"][0] < 0.05
    assert numbers["width_16_arrived"] == numbers["width_16_runs"] == 4


@small(modes=50, steps=(10, 100))
def decay_exponents(_, numbers):
    assert numbers["limits"] == [2.0, 3.0]
    assert len(numbers["exponents_1.5_0.1"]) == 2


@small(epochs=6, random_networks=16, seeds=6)
def digits(results, numbers):
    # On average, random networks classify 1 in 10 images correctly: each class has 100 images.
    _, low, high = numbers["random_networks_mean_accuracy"]
    assert low - 0.02 < 0.1 < high + 0.02
    assert numbers["initial_test_accuracy"] < 0.25
    assert numbers["initial_cost"] == pytest.approx(2.5, abs=0.2)
    assert numbers["final_cost"] < 0.4 < numbers["baseline_cost"]
    # Six epochs, a fifth of the default, suffice for accuracies far above chance level, 10 %.
    assert numbers["final_test_accuracy"] > 0.7
    assert numbers["wrong"] == round(1000 * (1 - numbers["final_test_accuracy"]))
    # For six starts, the interval of the median is the range of values, of coverage 1 - 2 / 2^6.
    accuracy = results.seeds_accuracy.values[:, -1]
    expected = [np.median(accuracy), accuracy.min(), accuracy.max()]
    np.testing.assert_allclose(numbers["seeds_test_accuracy_median"], expected, rtol=1e-6)
    # The plotted start is the first one, computed with a different slab width.
    assert accuracy[0] == pytest.approx(numbers["final_test_accuracy"], abs=0.05)
    for name, record in (("before", 0), ("after", -1)):
        right = np.argmax(results[name].values, axis=1) == results.label.values
        assert np.mean(right) == pytest.approx(float(results.test_accuracy[record]), abs=1e-6)
    assert results.epoch.values.tolist() == list(range(7))
    target = np.eye(10)[results.label.values]
    by_hand = np.mean(np.sum((results.after.values - target) ** 2, axis=1))
    assert float(results.test_cost[-1]) == pytest.approx(by_hand, rel=1e-5)
    assert float(results.test_cost[-1]) > float(results.cost[-1])


@small(
    rates=(0.3,),
    steps=80,
    digits=20,
    digit_steps=20,
    image_data="mnist5k",
    images=20,
    image_widths=(4,),
    image_steps=20,
    starts=2,
    eigenvectors=2,
    window=1,
)
def edge_models(_, numbers):
    assert numbers["swish_rate_0.3_bounded"] == numbers["swish_rate_0.3_gradient_completed"] == 2
    assert numbers["swish_rate_0.3_moved"][0] < 1e-3
    assert numbers["swish_rate_0.3_rod_completed"] == 2
    assert numbers["swish_rate_0.3_rod"][0] < numbers["swish_rate_0.3_gradient"][0]
    assert numbers["swish_rate_0.3_rod_to_gradient"][0] < 1


@small(
    rates=(0.04, 0.06),
    steps=12_000,
    heavy_rates=(0.06,),
    nesterov_rates=(0.03,),
    momentum_steps=3_000,
    seeds=2,
    digit_rates=(3.0,),
    digit_steps=40,
    digit_seeds=2,
    samples=200,
)
def edge_of_stability(results, numbers):
    # With momentum, the sharpness falls below the limit after each spike of the cost, and rises
    # again.
    limits = {"plain": [50, 2 / 0.06], "heavy": [3.8 / 0.06], "nesterov": [3.8 / 2.8 / 0.03]}
    for panel, limit in limits.items():
        np.testing.assert_allclose(numbers[f"{panel}_threshold"], limit, rtol=1e-5)
        allowed = 0.02 if panel == "plain" else 0.15
        np.testing.assert_allclose(numbers[f"{panel}_late_over_threshold"], 1, atol=allowed)
        assert numbers[f"{panel}_runs_diverged"] == numbers[f"{panel}_sharpness_not_found"] == 0
    # At a learning rate of 0.04, the limit 50 exceeds the initial sharpness.
    plain, digits, tangent = (results[name] for name in ("plain", "digits", "tangent"))
    assert np.all(plain.sharpness.isel(step=0) < 50)
    assert numbers["plain_reached_at_step"][0] > 1000
    assert numbers["plain_cost_left_after_it"][0] < 0.6
    assert 0 < numbers["plain_records_with_rising_cost"][0] < 0.8
    # Student's interval of two differences has a half-width of 12.706 standard errors, and the
    # standard error is half the distance between the differences.
    first, second = late_ratios(tangent.to_dataset())[0] - late_ratios(digits.to_dataset())[0]
    half, mean = 12.7062 * abs(first - second) / 2, (first + second) / 2
    expected = [mean, mean - half, mean + half]
    np.testing.assert_allclose(numbers["tangent_minus_digits"][0], expected, rtol=1e-4, atol=1e-6)


@small(problems=("parity",), optimizers=("sgd",), horizon=16, rates=12, starts=2, seeds=1)
def finders(results, _):
    assert np.isfinite(results.rate.sel(finder="search")).all()


@small(learned=200, widths=(8,), starts=8, orders=2, epochs=(2,), relu_epochs=2, resamples=20)
def flatness(results, numbers):
    """The trace exceeds the eigenvalue, and the adaptive sharpness twice its error."""
    assert results.right.shape == (2, 8, 2, 4800)
    assert (results.eigenvalue_error <= 0.01 * results.eigenvalue).all()
    assert (results.eigenvalue < results.trace).all()
    assert (results.adaptive_error < 0.5 * results.adaptive).all()
    assert numbers["networks"] == 16
    assert numbers["sigmoid, 2 epochs: diverged"] == 0


@small(widths=(8,), epochs=(0, 1), top=6, seeds=2)
def gradient_anatomy(results, numbers):
    assert numbers["seeds"] == 2
    assert numbers["dark_pixels"] == 132
    for epoch, name in enumerate(("epoch_0", "epoch_1")):
        # All checks of both starts; two starts are too few for an interval.
        assert numbers[f"{name}_nudges_within_allowed_over_seeds"] == (1, -np.inf, np.inf)
        assert numbers[f"{name}_nudges_within_allowed"] == 1
        assert numbers[f"{name}_largest_error_found"] < 0.02
        assert numbers[f"{name}_exactly_zero"] == 8 * 132
        signs = ("exactly_zero", "positive", "negative")
        assert sum(numbers[f"{name}_{sign}"] for sign in signs) == 784 * 8 + 8 * 10 + 18
        assert sum(numbers[f"{name}_share_of_layers"]) == pytest.approx(1, rel=1e-5)
        stage = results.isel(stage=epoch)
        g = np.abs(stage.gradient.values)
        np.testing.assert_array_equal(g[stage.position.values], np.sort(g)[::-1][:6])
    # The start of the figures is the first one.
    np.testing.assert_array_equal(results.seeds_cost.values[:, 0], results.cost.values)
    # Outputs near 1/2 exceed 9 of 10 targets: the mean gradient of an output bias is
    # 2 (1/2 - 1/10) 1/4 = 0.2.
    start = results.isel(stage=0)
    assert all(place.startswith("layer 2") for place in results.attrs["places"][0])
    assert np.all(start.gradient.values[start.position.values] > 0)
    assert start.gradient.values[-10:].mean() == pytest.approx(0.2, rel=0.3)
    assert numbers["epoch_0_cost"] == pytest.approx(2.5, abs=0.3)
    assert numbers["epoch_0_entries_holding_half"] < 80


@small(samples=40, digit_rate=0.4, digit_time=8.0, times=5)
def gradient_flow(results, numbers):
    for name in ("equal", "unequal", "digits"):
        assert numbers[f"{name}_order"] == pytest.approx(1, abs=0.1)
        assert numbers[f"{name}_last_ratio"] == pytest.approx(2, rel=0.05)
        assert numbers[f"{name}_flow_arrived"]
    assert numbers["equal_flow_error"] < 1e-8
    assert numbers["unequal_balance_lost_by_flow"] < 1e-8
    assert numbers["unequal_balance_order"] == pytest.approx(1, abs=0.1)
    error = numbers["digits_flow_error_at_looser_tolerance"]
    assert error < 0.1 * numbers["digits_largest_distances"][-1]
    assert np.all(np.diff(results["digits"].flow_cost) < 0)
    # Descent from equal factors satisfies the recurrence a <- a + eta (s - a^2) a.
    a, rate = 0.1, 0.16
    for product in results["equal"]["product"].values[0]:
        for _ in range(round(float(results["equal"].time[0]) / rate)):
            a += rate * (2 - a**2) * a
        assert product == pytest.approx(a**2, rel=1e-9)


@small(decays=(0.0, 3.0), seeds=3, steps=400, record_every=20)
def grokking(results, _):
    """Networks generalize late with decay, and not without decay."""
    learnt, delay = delays(results)
    assert np.all(learnt < 100)
    assert np.isinf(delay[0]).all()
    assert np.all((delay[1] > 0) & np.isfinite(delay[1]))
    assert results.test_accuracy[0].max() < 0.5


@pytest.mark.long
@pytest.mark.parametrize("name", SMALL)
def test_a_small_run(name, drawn):
    settings, check = SMALL[name]
    experiment = importlib.import_module(f"experiments.{name}.__main__")
    results = experiment.run(experiment.Config(**settings))
    check(results, experiment.numbers(results))
    kinds = {figure.split("_")[0] for figure in drawn(experiment, results)}
    assert kinds == {file.stem.split("_")[0] for file in (RESULTS / name).glob("*.png")}
