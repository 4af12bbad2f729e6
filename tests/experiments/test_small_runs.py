"""Small runs of the experiments: what is known of their results, and all of their figures.

Each function below is named after an experiment, has the command-line options of its small run, and
checks the results and the entries of the summary.
"""

import importlib
import json
import re
import shlex

import jax
import numpy as np
import pytest
import xarray as xr

import gdjax as gd
from experiments.batch_sizes.__main__ import last_epochs
from experiments.edge_of_stability.__main__ import late_ratios
from experiments.grokking.__main__ import delays
from experiments.predictability import __main__ as twins
from experiments.published.rows import BOUNDARY
from experiments.render import RESULTS, names, summary
from experiments.schedules import __main__ as schedule_runs
from experiments.shared import command
from experiments.shared.trees import datasets
from experiments.steepest_descent import basins as maps_of_starts
from experiments.steepest_descent import curves as curve_runs
from experiments.trainability_boundary import __main__ as maps
from gdjax.base import documents
from gdjax.minima.symmetry import apply_symmetry, random_symmetry
from tests.docs.test_results import COMMON, leaves

SMALL: dict = {}
# Names of entries that a small run may lack: too few networks generalize, or no run is sliding.
CONDITIONAL = {"exponent", "sliding"}


def small(options):
    """Register the small run of an experiment, with its options and its check."""

    def register(check):
        SMALL[check.__name__] = options, check
        return check

    return register


def small_config(name):
    """Return the module and the config of the small run of an experiment."""
    experiment = importlib.import_module(f"experiments.{name}.__main__")
    return experiment, command.parse(name, experiment.Config, shlex.split(SMALL[name][0]))[0]


@small("--rates 2 --seeds 6 --steps 2 --text 800 --context 8 --width 4 --layers 1")
def adam_and_momentum(results, numbers):
    """The cost with characters starts near the logarithm of the number of letters."""
    assert np.isfinite(results.cost).all()
    assert set(numbers["problem"]) == {"digits", "characters"}
    assert results.cost.sel(problem="characters").min() > 1


@small("--settings 2 --seeds 4 8 --repetitions 5 --rates 3")
def comparisons(results, numbers):
    """Four seeds allow no verdict, and eight find the large difference."""
    of_large = numbers["case"]["large"]["settings"]["2"]["seeds"]
    assert of_large["4"]["compare"]["right"][0] == numbers["largest_error"]["compare"][0] == 0
    assert of_large["8"]["compare"]["right"][0] > 0.5
    assert (results.covered <= 5).all()


@small("--batch-sizes 32 4000 --epochs 1 2 --rates 2 --seeds 6 --timed-epochs 1 --repeats 1")
def batch_sizes(results, numbers):
    assert numbers["batch_size"]["4000"]["epochs_to_half"] == np.inf
    assert numbers["comparison"]["equal_epochs"]["pairs"]["32 and 4000"]["verdict"] == "better"
    assert last_epochs(results).tolist() == [1, 2]
    # The cost before the first step is independent of the batch size.
    first, second = results.cost.isel(epoch=0).values
    np.testing.assert_allclose(first, second, rtol=1e-5)


@small(
    "--samples 300 --width 4 --epochs 2 --branch-steps 0 5 20 999 --perturbations 0.0 0.5 "
    "--trunks 2 --changes 1 --points 5"
)
def branching(results, _):
    """The barrier is zero without a change, and small after rounding errors."""
    np.testing.assert_allclose(results.barrier.sel(perturbation=0), 0, atol=1e-6)
    np.testing.assert_allclose(results.floor, 0, atol=1e-6)
    assert (results.independent > 1e-4).all()
    assert 999 not in results.branch_step


@small("--shares 0.5 7.0 14 --widths 64 --starts 4 --examples 2 --steps 60 --rates 0.9 2.0 2048")
def catapult(results, numbers):
    assert numbers["two_numbers_apart"] < 1e-9
    assert 3 <= numbers["examples"]["1"]["activation"]["linear"]["width"]["64"]["edge"][0] <= 4.5
    highest = results.highest.isel(examples=0).sel(activation="linear", share=slice(None, 1.9))
    assert (highest <= 1.05).mean() > 0.9
    assert numbers["first_doubling"] == pytest.approx(1, abs=0.01)
    assert numbers["second_doubling"] == pytest.approx(np.sqrt(5) - 1, abs=0.01)
    assert 1.28 < numbers["first_chaos"] < 1.4


@small(
    "--rates 0.1 0.3 --starts 2 --width 4 --samples 16 --widths --steps 40 --digit-rates "
    "--image-data mnist5k --image-rates 0.02 --images 20 --image-stride 4 --image-widths 4 "
    "--image-steps 20 --eigenvectors 1 --window 1"
)
def central_flow(results, numbers):
    """The flows start at the starting points of the descents."""
    for part in datasets(results).values():
        start = part.isel(step=0).sel(model=["gradient", "central"])
        np.testing.assert_allclose(start.mean_cost / start.cost, 1, rtol=1e-4)
    width_4 = numbers["case"]["width 4"]["rate"]["0.1"]["model"]
    assert width_4["central"]["deviation"][0] < 0.05
    models = numbers["case"]["Fashion-MNIST"]["rate"]["0.02"]["model"]
    assert all(model["completed"] == 2 and model["distance"][0] < 0.5 for model in models.values())
    assert models["moved"]["distance"][0] < 1e-3


@small("--epochs 2 --random-networks 16 --seeds 6")
def digits(results, numbers):
    # On average, random networks classify 1 in 10 images correctly: each class has 100 images.
    _, low, high = numbers["random_networks_mean_accuracy"]
    assert low - 0.02 < 0.1 < high + 0.02
    assert float(results.cost[0]) == pytest.approx(2.5, abs=0.2)
    # For six starts, the interval of the median is the range of values, of coverage 1 - 2 / 2^6.
    accuracy = results.seeds_accuracy.values[:, -1]
    expected = [np.median(accuracy), accuracy.min(), accuracy.max()]
    np.testing.assert_allclose(numbers["epoch"]["2"]["test_accuracy"], expected, rtol=1e-6)
    # The figures show the first of the starts, computed with a different slab width.
    assert accuracy[0] == pytest.approx(float(results.test_accuracy[-1]), abs=0.05)
    for name, record in (("before", 0), ("after", -1)):
        right = np.argmax(results[name].values, axis=1) == results.label.values
        assert np.mean(right) == pytest.approx(float(results.test_accuracy[record]), abs=1e-6)
    target = np.eye(10)[results.label.values]
    by_hand = np.mean(np.sum((results.after.values - target) ** 2, axis=1))
    assert float(results.test_cost[-1]) == pytest.approx(by_hand, rel=1e-5)


@small(
    "--rates 0.045 0.06 --steps 8000 --heavy-rates 0.06 --nesterov-rates 0.03 "
    "--momentum-steps 3000 --records 50 --seeds 2 --digit-rates 3.0 --digit-steps 8 "
    "--samples 20 --adam-rates 0.004 --rmsprop-rates 0.001 --adaptive-steps 4000 "
    "--digit-adam-rates --digit-rmsprop-rates --sign-scaled-rates --sign-plain-rates 0.01 "
    "--muon-scaled-rates 0.03 --muon-plain-rates --norm-width 3 --norm-samples 6 --norm-steps 20 "
    "--norm-records 5"
)
def edge_of_stability(results, numbers):
    # With momentum, the sharpness falls below the limit after each spike of the cost, and rises
    # again.
    limits = {"plain": [2 / 0.045, 2 / 0.06], "heavy": [3.8 / 0.06], "nesterov": [3.8 / 2.8 / 0.03]}
    for panel, expected in limits.items():
        allowed = 0.02 if panel == "plain" else 0.15
        for at, limit in zip(numbers["case"][panel]["rate"].values(), expected, strict=True):
            assert at["threshold"] == pytest.approx(limit, rel=1e-5)
            assert at["late_over_threshold"][0] == pytest.approx(1, abs=allowed)
        assert np.isfinite(results[panel].sharpness).all()
    # At a learning rate of 0.045, the limit 44 exceeds the initial sharpness.
    assert np.all(results["plain"].sharpness.isel(step=0) < 44)
    plain = numbers["case"]["plain"]["rate"]["0.045"]
    assert plain["reached_at_step"] > 1000
    assert plain["cost_left_after_it"] < 0.6
    assert 0 < plain["records_with_rising_cost"] < 0.8
    # Student's interval of two differences has a half-width of 12.706 standard errors, and the
    # standard error is half the distance between the differences.
    digits, tangent = (late_ratios(results[name].to_dataset())[0] for name in ("digits", "tangent"))
    first, second = tangent - digits
    half, mean = 12.7062 * abs(first - second) / 2, (first + second) / 2
    expected = [mean, mean - half, mean + half]
    difference = numbers["tangent_minus_digits"]["rate"]["3"]
    np.testing.assert_allclose(difference, expected, rtol=1e-4, atol=1e-6)
    adaptive = numbers["preconditioned"]["case"]
    adam, rmsprop = (adaptive[f"chebyshev_{name}"] for name in ("adam", "rmsprop"))
    assert (adam["limit"], rmsprop["limit"]) == pytest.approx((38, 2))
    assert adam["rate"]["0.004"]["late"][0] == pytest.approx(38, rel=0.05)
    assert rmsprop["rate"]["0.001"]["late"][0] == pytest.approx(2, rel=0.08)
    assert adam["not_found"] == 0
    # The curvature along a step is at most the generalized sharpness.
    for norm in datasets(results["generalized"]).values():
        assert np.all(norm.step_curvature <= norm.sharpness * (1 + 1e-3) + 1e-6)
        assert np.all(norm.sharpness > 0)


@small("--problems parity --optimizers sgd --horizon 16 --rates 12 --starts 2 --seeds 1")
def finders(results, _):
    assert np.isfinite(results.rate.sel(finder="search")).all()


@small("--learned 200 --widths 8 --starts 8 --orders 2 --epochs 2 --relu-epochs 2 --resamples 20")
def flatness(results, numbers):
    """The trace exceeds the eigenvalue, and the adaptive sharpness twice its error."""
    for part in datasets(results).values():
        assert part.right.shape == (8, 2, 4800)
        assert (part.eigenvalue_error <= 0.01 * part.eigenvalue).all()
        assert (part.eigenvalue < part.trace).all()
        assert (part.adaptive_error < 0.5 * part.adaptive).all()
    assert [recipe["diverged"] for recipe in numbers["recipe"].values()] == [0, 0]


@small("--widths 8 --epochs 0 1 --top 6 --seeds 2")
def gradient_anatomy(results, numbers):
    assert numbers["dark_pixels"] == 132
    for number, at in enumerate(numbers["epoch"].values()):
        # All checks of both starts; two starts are too few for an interval.
        assert at["over_seeds"]["nudges_within_allowed"] == (1, -np.inf, np.inf)
        assert at["largest_error_found"] < 0.02
        assert at["exactly_zero"] == 8 * 132
        stage = results.isel(stage=number)
        shares = stage.seeds_share_of_first_layer + stage.seeds_share_of_last_layer
        np.testing.assert_allclose(shares, 1, rtol=1e-5)
        g = np.abs(stage.gradient.values)
        np.testing.assert_array_equal(g[stage.position.values], np.sort(g)[::-1][:6])
    # The figures show the first of the starts.
    np.testing.assert_array_equal(results.seeds_cost.values[0], results.cost.values)
    # Outputs near 1/2 exceed 9 of 10 targets: the mean gradient of an output bias is
    # 2 (1/2 - 1/10) 1/4 = 0.2.
    start = results.isel(stage=0)
    assert all(place.startswith("layer 2") for place in results.attrs["places"][0])
    assert np.all(start.gradient.values[start.position.values] > 0)
    assert start.gradient.values[-10:].mean() == pytest.approx(0.2, rel=0.3)
    over_seeds = numbers["epoch"]["0"]["over_seeds"]
    assert over_seeds["cost"][0] == pytest.approx(2.5, abs=0.3)
    assert over_seeds["entries_holding_half"][0] < 80


@small("--samples 40 --digit-rate 0.4 --digit-time 8.0 --times 5")
def gradient_flow(results, numbers):
    cases = numbers["case"]
    for case in cases.values():
        assert case["order"] == pytest.approx(1, abs=0.1)
        assert case["last_ratio"] == pytest.approx(2, rel=0.05)
        assert case["flow_arrived"]
    assert cases["equal"]["flow_error"] < 1e-8
    assert cases["unequal"]["balance_lost_by_flow"] < 1e-8
    assert cases["unequal"]["balance_order"] == pytest.approx(1, abs=0.1)
    assert np.all(np.diff(results["digits"].flow_cost) < 0)
    # Descent from equal factors satisfies the recurrence a <- a + eta (s - a^2) a.
    a, rate = 0.1, 0.16
    for product in results["equal"]["product"].values[0]:
        for _ in range(round(float(results["equal"].time[0]) / rate)):
            a += rate * (2 - a**2) * a
        assert product == pytest.approx(a**2, rel=1e-9)


@small("--decays 0.0 3.0 --seeds 3 --steps 400 --record-every 20")
def grokking(results, _):
    """Networks generalize late with decay, and not without decay."""
    learnt, delay = delays(results)
    assert np.all(learnt < 100)
    assert np.isinf(delay[0]).all()
    assert np.all((delay[1] > 0) & np.isfinite(delay[1]))
    assert results.test_accuracy[0].max() < 0.5


@small(
    "--sets 4 --most 8 --guessed 8 --images 2 4 6 8 --blocks 6 --guesses 2048 --members 256 "
    "--moves 20 --return-moves 20 --trained 4 --steps 300"
)
def guessing(results, numbers):
    """Sampled networks are as accurate, and as probable, as guesses that fit."""
    assert (np.diff(results.accepted.values, axis=1) <= 0).all()
    assert numbers["k"]["2"]["descents_that_fit"] > 0.5
    for at in numbers["k"].values():
        _, low, high = at["sampled_minus_guessed"]
        assert max(low, -0.03) < min(high, 0.03)
        assert 0.7 < at["probability_ratio"][0] < 1.4


@small(
    "--epochs 0 2 --shown 0 2 --seeds 1 --largest 12 --smallest 1 --gap-within 11 --probes 4 "
    "--depth 20 --samples 200"
)
def hessian_spectrum(results, numbers):
    # Before training, the number of outliers is that of the directions of the outputs.
    for cost, outliers in (("quadratic", 10), ("cross_entropy", 9)):
        records = numbers["cost"][cost]
        hessian, gauss_newton = records["epoch"]["0"]["matrix"].values()
        assert gauss_newton["above_gap"] == [outliers]
        assert gauss_newton["gap"][0] > 10
        # The gap of the Hessian is smaller, since these directions are mixed with others.
        assert hessian["gap"][0] < gauss_newton["gap"][0] / 3
        assert records["all_converged"]
        assert records["largest_residual"] <= 1.01e-3
    # Negative curvature decreases during training.
    epochs = numbers["cost"]["quadratic"]["epoch"]
    before, after = (at["smallest_over_largest"][0] for at in epochs.values())
    assert -1 < before < after < 0
    assert epochs["0"]["negative_sum"] < epochs["2"]["negative_sum"] < 0
    # Weighted nodes sum to the trace; both estimates have errors, from different random probes.
    for epoch, spread in epochs.items():
        here = results["quadratic"].to_dataset().sel(shown=int(epoch))
        sums = 13_002 * (here.node * here.weight).sum("depth").values
        error = np.hypot(sums.std(ddof=1) / 2, spread["trace_standard_error"])
        assert abs(sums.mean() - spread["trace"]) < 5 * error


@small(
    "--initializers normal fan_in --scales 3 --learning-rates 3.0 --seeds 2 --epochs 2 --images 100"
)
def initializations(results, numbers):
    assert 0.07 < numbers["accuracy_before_mean"] < 0.13
    # With tiny weights all outputs are 1/2: the cost is 10 * 1/4, and sigmoids are at their center.
    assert numbers["cost_before_smallest"] == pytest.approx(2.5, abs=0.02)
    assert np.all(results.slope_1.isel(initializer=1, init_scale=0, step=0) > 0.999)
    for runs in numbers["initializer"].values():  # large starts are saturated
        assert runs["slope_at_largest"][0] < 0.06
        assert runs["accuracy_at_largest"][0] < 0.2
    assert numbers["initializer"]["fan_in"]["accuracy_at_best"][0] > 0.7
    # Weights from N(0, 1) are 28 times those from N(0, 1/784), so sigmoids saturate at scale 1.
    normal, fan_in = results.slope_1.isel(init_scale=1, step=0).median(("learning_rate", "seed"))
    assert normal < fan_in / 2


@small(
    "--functions himmelblau --widths 2 --widest --decays 0.01 --regressions 0 --starts 6 "
    "--searches 30"
)
def landscape_graph(_, numbers):
    """All saddles are found, and a generic network of two tanh neurons has eight images."""
    function = numbers["function"]["himmelblau"]
    assert len(function["saddle_search"]) == 4
    assert function["sum"] == 1
    assert numbers["xor"]["width"]["2"]["images"] == 8


@small("--lowest 0.003 --highest 300.0 --rates 6 --seeds 3 --epochs 2 --fine-rates 4")
def learning_rates(results, numbers):
    sigmoid, relu = numbers["activation"].values()
    assert sigmoid["best_rate"] == pytest.approx(3)
    assert sigmoid["accuracy_at_best"] > 0.7
    median = results.test_accuracy.isel(activation=0, step=-1).median("seed")
    assert median.sel(learning_rate=0.003, method="nearest") < 0.35
    # No run with sigmoids diverges; with ReLUs, some runs stall and others diverge.
    assert sigmoid["runs_diverged"] == 0
    assert relu["runs_diverged"] > 0
    assert relu["runs_stalled"] > 0
    diverged = results.outcome.values == gd.descent.Outcome.DIVERGED
    assert np.all(np.isinf(results.cost.values[diverged][:, -1]))


@small(
    "--seeds 12 --xor-seeds 12 --xor-decay 0.001 --xor-steps 1000 --images 20 --widths 3 "
    "--decay 0.002 --steps 1000"
)
def local_minima(results, numbers):
    census, of_digits = datasets(results).values()
    xor, digits = numbers["case"].values()
    for case in (xor, digits):
        assert sum(case["runs"].values()) == 12
        assert case["minima"] > 0
    # With decay, minima are isolated, and each is reached by several runs.
    assert np.all(census.minimum_nullity.values == 0)
    assert np.all(census.least_curvature.values > 0)
    assert xor["minima"] < xor["runs"]["strict_minimum"]
    # With decay, outputs at minima differ from the targets 0.1 and 0.9, so costs are positive.
    assert xor["cost_lowest"] > 0.01
    # The digit network has reduced inputs.
    assert of_digits["params.0.weights"].shape[1:] == (3, 20)
    assert digits["accuracy_most"] > 0.2
    lowest = np.argmin(of_digits.minimum_cost.values)
    assert digits["accuracy_of_the_lowest"] == of_digits.test_accuracy[lowest]


@small("--epochs 3 --snapshots 6 --points 5 --samples 320 --seeds 1")
def loss_landscape(results, numbers):
    cases = numbers["case"]
    small, good, large = cases.values()
    assert len({one["start_cost"] for one in cases.values()}) == 1
    assert good["final_cost"] < small["final_cost"]
    assert large["outcome"] == "stalled"
    assert large["final_cost"] == pytest.approx(1, abs=1e-4)
    # The curvature along the eigenvector is the largest, and equals the eigenvalue.
    for one in (small, good):
        random, neuron, top = (view["curvature"] for view in one["view"].values())
        assert top == pytest.approx(one["largest_eigenvalue"], rel=0.03)
        assert max(random, neuron) < top
    for case, one in cases.items():
        # The figures show the first of the starts.
        assert one["over_seeds"]["final_cost"][0] == one["final_cost"]
        # Planes have the cost of the end point at the center.
        for view in one["view"]:
            plane = results[f"{case}/{view}"].to_dataset()
            assert float(plane.cost[2, 2]) == pytest.approx(one["final_cost"], rel=1e-4)
            assert case != "too large" or np.ptp(plane.cost.values) < 0.01
    # The trajectory ends in its plane, but does not lie in it.
    assert results["good/way"].path_off[-1] < 1e-5
    assert good["off_plane_most"] > 0.01
    assert 0.5 < good["explained_by_1"] < good["explained_by_2"] < 1


@small(
    "--samples 500 --widths 16 --networks 4 --epochs 12 --curve-epochs 12 --learning-rate 0.02 "
    "--batch-size 25 --points 9 --nodes 3 --images 200"
)
def mode_connectivity(results, numbers):
    one, kinds = results["16"].to_dataset(), numbers["width"]["16"]["kind"]
    assert one.test_accuracy.max() > 0.5
    assert np.all(one.cost < one.attrs["baseline"])
    for pair in range(2):  # all paths end at the networks, since matching preserves outputs
        for end, run in ((0, 2 * pair), (-1, 2 * pair + 1)):
            along = one.cost_along.sel(pair=pair).isel(t=end)
            np.testing.assert_allclose(along, float(one.cost[run]), rtol=1e-4)
    for kind, name in (("straight", "barrier"), ("matched by weights", "matched_barrier")):
        along = one.cost_along.sel(pair=1, kind=kind).values
        rise = np.max(along - np.linspace(along[0], along[-1], len(along)))
        between = np.abs(np.diff(along, 2)).max() / 4  # what the cost may rise between two points
        assert rise - 1e-4 <= float(one[name].sel(run=2, other=3)) <= max(rise, 0) + between
    # Matching increases no distance, and curves have lower costs than straight lines.
    assert np.all(one.matched_distance <= one.distance)
    mean = one.cost_along.mean("t")
    assert np.all(mean.sel(kind="curved") < mean.sel(kind="straight"))
    assert kinds["matched by weights"]["barrier"][0] < kinds["straight"]["barrier"][0]


@small(
    "--data mnist5k --samples 100 --width 4 --batch-size 10 --starts 3 --warm-up-steps 5 "
    "--branch-steps 20 40 --decay-steps 20 --snapshot-every 5 --directions 2 3 4"
)
def river_valleys(results, numbers):
    part = results.isel(data=0)
    assert part.converged.all()
    # The parts add up to the change of the cost, which agrees with independent evaluations.
    np.testing.assert_allclose(part.total, part.end - part.begin, atol=1e-6)
    total = part.second_order.sum("direction") + part.rest + part.remainder
    np.testing.assert_allclose(total, part.total, atol=1e-6)
    np.testing.assert_allclose(part.line.sum("direction") + part.line_rest, part.total, atol=1e-5)
    # The recorded costs of a decay begin at that of the branch point and end at the final cost.
    np.testing.assert_allclose(part.branch_cost[:, 0], part.begin[0], rtol=1e-5)
    np.testing.assert_allclose(part.branch_cost[:, -1], part.end[0], rtol=1e-5)
    np.testing.assert_allclose(part.trunk_cost[4], part.begin[0, 0], rtol=1e-5)
    assert numbers["data"]["mnist5k"]["diverged"] == 0


@small(
    "--factor-rates 0.5 1.1 1.2 --factor-steps 400 --factor-bases 12 --xor-rates --digit-rates "
    "--images 32 --distances 0.01 0.3 --twins 2 --trunks 1 --late-shares 0.0"
)
def predictability(results, numbers):
    # The exponents of minima, and of the orbits of period 2 on x = y, across them and along them.
    rates = numbers["case"]["factors"]["rate"].values()
    for at, known in zip(rates, [0, -0.111572, -0.192831], strict=True):
        assert at["exponent"][0] == pytest.approx(known, abs=1e-3)
        assert at["known_exponent"] == pytest.approx(known, abs=1e-3)
    assert np.all(results["factors"].at_start.sel(distance=0) == 0)
    # Runs in other quadrants, or of which one diverged, end elsewhere.
    ends = np.array([[1.0, 1.0], [-1.0, -1.0], [2.0, 0.5]]), np.array([0.0, 0.0, np.inf])
    pairs = np.array([0, 0, 0]), np.array([0, 1, 2])
    assert twins.in_other_quadrants(*ends, *pairs).tolist() == [0, 1, 1]
    # The distance of networks is modulo symmetry: an equivalent network is at distance 0.
    network = gd.problems.Network((3, 4, 4, 2))
    one, other = (network.init(jax.random.key(k)) for k in range(2))
    same = apply_symmetry(network, one, random_symmetry(network, key=jax.random.key(2)))
    params = jax.tree.map(lambda *leaves: np.stack(leaves), one, same, other)
    distance = twins.matched_distance(network, params, None, *pairs)
    np.testing.assert_allclose(distance[:2], 0, atol=1e-5)
    assert distance[2] > 0.5


@small("--rows 'edge, Adam' 'dimension, tanh' 'batch sharpness, shuffled' 'second period doubling'")
def published(_, numbers):
    verdicts = {name: row["verdict"] for name, row in numbers["row"].items()}
    assert list(verdicts.values()) == ["agrees", "settings differ", "disagrees", "agrees"]
    value, low, high = numbers["row"]["edge, Adam"]["ours"]
    assert 36 < low < value < high < 38
    # The dimensions are those of the experiment on the boundary.
    for name, at in summary("trainability_boundary")["condition"].items():
        assert at["published"] == BOUNDARY[name][0]


@small(
    "--validation 200 --rates 3 --momenta 0.0 0.8 --init-scales 1.0 --batch-sizes 8 --rungs 1 4 16 "
    "--trials 6 --batch 3 --single-trials 3 --repetitions 2 --timed 1"
)
def search(_, numbers):
    assert all(numbers["search"][name]["time"][0] > 0 for name in ("dense", "batches", "single"))


@small(
    "--samples 60 --widths 4 --batch-size 10 --steps 12 --knots 3 --iterations 2 --tuning-starts 2 "
    "--pairs 10 --modes 50 --horizons 10 100"
)
def schedules(tree, numbers):
    low, high = numbers["quadratics"]["capacity"].values()
    assert (low["limit"], high["limit"]) == (2, 3)
    for quadratic in (low, high):
        for at in quadratic["noise"].values():
            assert 0 < at["exponents"][0] < at["exponents"][1] < quadratic["limit"]
    _, config = small_config("schedules")
    results = tree["networks"].to_dataset()
    # The first schedule is constant, so that a sweep at this rate ends at the same costs.
    axes = gd.axes(shape=[0], peak=[3.0], seed=range(2))
    digits = schedule_runs.problems(config)["digits"]
    costs = schedule_runs.runs_of(config, digits, np.ones((1, 12)), axes)
    assert results.tuning_cost[0] == pytest.approx(costs.mean(), rel=1e-5)
    assert np.all(np.isfinite(results.cost))
    known = {"cosine": 0.75, "linear": 2 / 3, "warm-up-stable-decay": 1, "learned": np.sqrt(1 / 2)}
    knots = -np.log(2) * np.arange(12)[None] / 8
    learned = xr.Dataset({"knots": (("iteration", "knot"), np.repeat(knots, 2, axis=0))})
    learned["tuning_cost"] = "iteration", [1.0, 2.0]
    for name, value in known.items():  # at a third of 12 steps
        assert schedule_runs.shape_of(name, 12, learned)[4] == pytest.approx(value)


@small("--learned 200 --widths 8 --starts 4 --orders 3 --epochs 1 2 --resamples 10")
def seeds(results, numbers):
    """All starts and orders are combined."""
    assert results.right.shape == (2, 4, 3, 4800)
    assert results.cost.sel(epochs=2).mean() < results.cost.sel(epochs=1).mean()
    accuracy = results.right.values.mean(axis=3)
    assert len(np.unique(accuracy[1])) > 6
    assert numbers["epochs"]["2"]["accuracy"][0] == pytest.approx(accuracy[1].mean())


@small(
    "--temperatures 0.5 0.03125 0.0009765625 0.0 --learning-rates 0.01 1.0 --seeds 2 --epochs 1 "
    "--looked-at 10.0 1.0 0.05 0.0001 0.0 --images 40"
)
def smoothness(results, numbers):
    # With step functions, gradients are zero and the cost is constant.
    assert numbers["gradient_norm_of_steps"] == numbers["cost_moved_by_steps"] == 0
    assert np.all(results.image_gradient_norm.sel(looked_at=0) == 0)
    assert numbers["temperature"]["0"]["accuracy"][0] < 0.25
    # Gradients of single images increase before they vanish.
    median = results.image_gradient_norm.median(("image", "seed"))
    hot, warm, cool, cold = (float(median.sel(looked_at=t)) for t in (10, 1, 0.05, 0.0001))
    assert hot < warm < cool
    assert cold == 0
    # At low temperature, the accuracy is low at all rates.
    accuracy = results.test_accuracy.isel(step=-1).median("seed").max("learning_rate")
    assert float(accuracy.sel(temperature=0.5)) > 0.5
    assert float(accuracy.sel(temperature=0.03125)) < 0.3
    # C(w; T) = C(w / T; 1): starts scaled by T with rates scaled by T^2 have bitwise equal costs.
    costs = results.scaled_cost.values[results.temperature.values > 0]
    assert np.array_equal(costs, np.broadcast_to(costs[:1], costs.shape))
    assert np.all(costs[..., -1] < costs[..., 0])
    # Along a weight, each of 30 images changes the cost at most once, by a multiple of 1/30.
    stairs, smooth = (results.cost_along.sel(drawn=t).values for t in (0, 1))
    jumps = 30 * np.diff(stairs)
    assert len(np.unique(stairs)) <= 31
    np.testing.assert_allclose(jumps, np.round(jumps), atol=1e-4)
    assert 0 < np.count_nonzero(jumps) <= 30
    assert np.abs(np.diff(smooth)).max() < 1e-3


def steps_on_curves(results, curves):
    # Every step is minus the rate times the slope, and lowers the cost.
    quartic = results["curve/quartic"]
    x = quartic.position.values[:, :-1]
    expected = -float(quartic.learning_rate) * (4 * x**3 - 8 * x + 1)
    np.testing.assert_allclose(quartic.position.diff("step"), expected, rtol=0, atol=1e-12)
    assert curves["share_of_steps_against_slope"] == 1
    assert curves["share_of_steps_that_lower_cost"] == 1
    assert curves["steps_looked_at"] > 3 * 60 * 50
    # Successive steps have the ratio predicted from the curvature.
    assert curves["largest_error_of_contraction"] < 1e-6
    assert curves["share_in_predicted_valley"] == 1
    assert curves["largest_distance_to_minimum"] < 1e-8
    # The share of starts in the lowest valley is its relative width: the distance between the
    # maxima, or a maximum and the end of the domain, on both sides of the lowest minimum, divided
    # by the length of the domain.
    widths = {
        "quartic": (0.12600019 + 2.5) / 5,
        "sine_bowl": (1.97738303 + 10) / 20,
        "two_sines": (6.21730885 - 4.19659627) / 4.8,
    }
    for name, width in widths.items():
        assert curves["case"][name]["width_of_lowest"] == pytest.approx(width, abs=1e-8)
        assert curves["case"][name]["share_at_lowest"] == pytest.approx(width, abs=1 / 60)
    # At a large rate, steps cross maxima.
    with jax.enable_x64(True):
        large = curve_runs.descents("two_sines", 40, 50, 4.0)
    crossing = curve_runs.numbers({"two_sines": large})
    assert crossing["share_in_predicted_valley"] < 1
    assert crossing["share_of_steps_that_lower_cost"] < 1


@small(
    "--side 60 --starts 60 --path-steps 600 --steps 1000 --rates 0.1 0.5 0.9 1.1 "
    "--momenta 0.0 0.5 --drawn 0 3 --paths 6 --points 25 --directions 180"
)
def steepest_descent(results, numbers):
    steps_on_curves(results, numbers["curves"])
    # Slopes are proportional to the cosine of the angle to the gradient. Directions are 2 degrees
    # apart, so the nearest one is at most 1 degree away.
    assert numbers["degrees_from_negative_gradient_most"] <= 1 + 1e-3
    assert numbers["steepest_over_gradient_norm_least"] >= np.cos(np.radians(1)) - 1e-6
    assert numbers["steepest_over_gradient_norm_most"] <= 1 + 1e-6
    for surface in datasets(results["surface"]).values():
        gradient = surface.gradient.values
        toward = np.arctan2(gradient[:, 1], gradient[:, 0])[:, None]
        length = np.linalg.norm(gradient, axis=-1, keepdims=True)
        expected = length * np.cos(surface.angle.values - toward)
        np.testing.assert_allclose(surface.slope, expected, atol=1e-5)
    himmelblau, camel = (results[f"map/{name}"] for name in ("himmelblau", "six_hump_camel"))
    first, second, third = numbers["case"].values()
    for at, saddles in ((first, 4), (second, 7)):
        assert at["saddles"] == at["saddles_on_border"] == saddles
    assert [at["held_beyond_limit_most"] for at in (first, second, third)] == [0, 0, 0]
    assert min(at["momentum"]["0"]["half_arrives_up_to"] for at in (first, third)) >= 0.9
    # The basins of the camel function are invariant under point reflection.
    places, end = camel.position.values, camel.end.values[0, 0]
    partner = [int(np.argmin(np.linalg.norm(places + place, axis=1))) for place in places]
    assert np.array_equal(np.array(partner)[end], end[::-1, ::-1])
    # A large rate changes the end points; the term x^6 makes large x unstable.
    assert first["rate"]["0.9"]["elsewhere"] > first["rate"]["0.5"]["elsewhere"] >= 0
    assert second["rate"]["0.9"]["diverged"] > 0.1
    # Only the limit of the sharpest minimum, (-3.779, -3.283), is below the largest rate, at which
    # no start ends in it; momentum raises this limit.
    assert maps_of_starts.beyond(himmelblau).sum(axis=(0, 2)).tolist() == [1, 0]
    ends = himmelblau.end.values[:, 0]
    assert (ends[0] == 3).mean() > 0.2
    assert not (ends[-1] == 3).any()
    # The limits follow from the eigenvalues; those of Rastrigin's function lie within 2 %.
    assert first["limit_least"] == pytest.approx(2 / 133.786, rel=1e-5)
    assert first["limit_most"] == pytest.approx(2 / 80.550, rel=1e-5)
    least, most = third["limit_least"], third["limit_most"]
    assert 2 / (2 + 40 * np.pi**2) == pytest.approx(least, rel=1e-6)
    assert least < most < 1.02 * least
    # At half the limit, no step on Rastrigin's function is long enough to cross a maximum.
    assert third["rate"]["0.5"]["elsewhere"] == 0


@small(
    "--rates 0.13 --batch-sizes 8 --starts 2 --orders 1 --width 3 --samples 16 --steps 40 "
    "--records 4 --batches 4 --window 16 --sizes 8 --copies 2 --noises 0.0 0.1 --points 2 "
    "--image-data mnist5k --images 40 --image-widths 4 --image-sizes 10 --image-steps 8 "
    "--image-records 4"
)
def stochastic_edge(results, _):
    # A step changes |d|^2 by eta^2 |g|^2 - 2 eta d^T g. The equation is the sum over all steps.
    net = results["net"]
    np.testing.assert_allclose(net.stationary, 1 + net.drift, rtol=2e-3)


@small(
    "--conditions tanh batches offset --steps 60 --points 36 --zooms 1 --seeds 1 2 --factor 4 "
    "--roughness 0.02 0.03 0.1 --rates 1025 --rate-steps 300"
)
def trainability_boundary(results, numbers):
    """Small rates train, and large ones do not."""
    complete = results.trains.isel(map=0)
    assert complete[..., 0, 0].all()
    assert not complete[:2, :, -1, :].any()  # rows with a rate that is too large
    assert np.all((results.speed > 0) & (results.speed <= 1e6))
    # Dimensions are medians over seeds, of which two are too few for an interval.
    fits = maps.fits(results)
    assert fits.dimension.shape == (3, 2, 2)
    median = np.median(fits.dimension[2, :, 1])
    closer = numbers["condition"]["offset"]["magnification"]["4"]
    assert closer["dimension"] == (median, -np.inf, np.inf)
    cells = maps.box_counting.boundary(results.trains.values[0, 1, 0])
    one = maps.box_counting.dimension(*maps.box_counting.box_counts(cells))
    assert float(fits.dimension[0, 1, 0]) == one.dimension
    # A zoom lies in the previous map and contains both sides.
    for sides in (results.across.values, results.up.values):
        ratio = sides[..., -1] / sides[..., 0]
        np.testing.assert_allclose(ratio[..., 1], ratio[..., 0] ** (1 / 4))
        for outer, inner in sides.reshape(-1, 2, 36):
            assert inner[0] in outer
    shares = results.trains.isel(map=1).mean(("row", "column"))
    assert np.all((shares > 0) & (shares < 1))
    # Convex costs have one boundary rate, and rough ones have many.
    counts = maps.boundary_rates(results)
    assert counts[:2].tolist() == [1, 1]
    assert counts[2] > 10
    assert numbers["roughness_where_convexity_ends"] == pytest.approx(0.0507, abs=1e-4)


@small(
    "--sets 2 --images 20 --hidden 2 --seeds 32 --steps 2000 --directions 64 --num-samples 100 "
    "--resamples 50"
)
def widths_of_valleys(results, numbers):
    assert results.volume_log_volume.sizes == {"minimum": results.sizes["minimum"]}
    assert len(np.unique(results["set"])) == 2
    assert 0 < numbers["coefficient_least"] <= numbers["coefficient_most"]
    assert results.chains_coefficient.median() < numbers["parameters"] / 2
    known = numbers["coordinates"]
    assert known["diagonal"]["gain"][0] > 0
    assert known["hessian"]["gain"][0] > 0
    same = results.log_volume.sel(coordinates="hessian").values
    np.testing.assert_array_equal(same, results.volume_log_volume.values)


@pytest.fixture
def optimizations(request):
    """Optimize the programs of experiments that run longer than they compile."""
    flag = "jax_disable_most_optimizations"
    before = jax.config.read(flag)
    if request.getfixturevalue("name") == "edge_of_stability":
        jax.config.update(flag, False)
    yield
    jax.config.update(flag, before)


@pytest.mark.usefixtures("optimizations")
@pytest.mark.parametrize("name", SMALL)
def test_a_small_run(name, drawn):
    jax.clear_caches()  # a program that was traced with float32 could be used again with float64
    experiment, config = small_config(name)
    results = experiment.run(config)
    written = experiment.numbers(results)
    SMALL[name][1](results, written)
    stored = summary(name)
    labels = set(re.findall(r"\w+", json.dumps(stored["config"])))  # of coordinates
    entries = leaves({key: stored[key] for key in stored.keys() - COMMON})
    old = entries - leaves(documents.plain(written, other=str)) - CONDITIONAL - labels
    assert {entry for entry in old if entry.isidentifier()} == set()
    kinds = {figure.split("_")[0] for figure in drawn(experiment, results)}
    files = [*(RESULTS / name).glob("*.png"), *(RESULTS / name).glob("*.webp")]
    assert kinds == {file.stem.split("_")[0] for file in files}


@pytest.mark.parametrize("name", names())
def test_stored_results_are_those_of_the_default_config_or_have_its_settings(name):
    """Results of other configs are stored in folders below those of the default one."""
    config = importlib.import_module(f"experiments.{name}.__main__").Config()
    stored = json.loads(documents.serialize(documents.plain(config, other=str)))
    assert summary(name)["config"] == stored
    for file in (RESULTS / name).glob("*/summary.json"):
        assert json.loads(file.read_text("utf8"))["config"].keys() == stored.keys()


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("gradient_anatomy", {"epochs": (3, 1)}, "epochs = "),
        ("gradient_anatomy", {"epochs": ()}, "epochs = "),
        ("trainability_boundary", {"points": 20}, "points = 20"),
        ("trainability_boundary", {"conditions": ("tan",)}, r"unknown conditions \['tan'\]"),
    ],
)
def test_settings_that_do_not_fit_raise_input_error(name, settings, message):
    experiment = importlib.import_module(f"experiments.{name}.__main__")
    with pytest.raises(gd.errors.InputError, match=message):
        experiment.run(experiment.Config(**settings))
