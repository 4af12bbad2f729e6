"""Guesses compared with a loop, and restricted random walks with known probabilities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from experiments.guessing import __main__ as guessing
from experiments.guessing import model as methods
from experiments.guessing.conditioned_networks import least_margins, nearest, restrict
from gdjax.base.errors import InputError


@pytest.fixture(scope="module")
def material():
    config = methods.Config(sets=3, most=6)
    x, y = guessing.images(config)
    chosen, unseen = guessing.cut(config, y)
    sets, everything = (
        (jnp.asarray(x[i], jnp.float32), jnp.asarray(y[i], jnp.float32)) for i in (chosen, ...)
    )
    return x, y, chosen, unseen, sets, everything


def test_images_are_split_into_sets_with_alternating_digits(material):
    x, y, chosen, unseen, *_ = material
    assert x.shape == (1000, 25)
    np.testing.assert_allclose([x.mean(axis=0).max(), x.std()], [0, 1], atol=1e-5)
    np.testing.assert_array_equal(y[chosen], np.tile([-1, 1], (3, 3)))
    assert len(np.unique(chosen)) == chosen.size
    for row, flags in zip(chosen, unseen, strict=True):
        np.testing.assert_array_equal(np.flatnonzero(~flags), np.sort(row))
    with pytest.raises(InputError, match=r"most = 64, .* 16 disjoint sets have at most 62 images"):
        guessing.cut(methods.Config(most=64), y)


def test_counts_and_accuracies_of_a_block_equal_those_of_a_loop(material):
    *_, unseen, sets, everything = material
    count, hidden = 256, 4
    result, right = methods.block(
        jax.random.key(0), sets, everything, jnp.asarray(unseen), count=count, hidden=hidden
    )
    first, second = (np.asarray(a) for a in methods.drawn(jax.random.key(0), count, 25, hidden))
    expected = np.zeros((3, 3), int)
    accuracy = [[[] for _ in range(3)] for _ in range(3)]
    for W, v in zip(first, second, strict=True):
        for sign in (1, -1):
            for s, (x, y) in enumerate(zip(*map(np.asarray, sets), strict=True)):
                fits = (sign * np.maximum(x @ W.T, 0) @ v) * y > 0
                for place in range(3):
                    if fits[: 2 * (place + 1)].all():
                        expected[s, place] += 1
                        images, labels = (np.asarray(one)[unseen[s]] for one in everything)
                        out = sign * np.maximum(images @ W.T, 0) @ v
                        accuracy[s][place].append(np.mean(out * labels > 0))
    np.testing.assert_array_equal(result, expected)
    empty = methods.SHOWN * [np.nan]  # if fewer guesses fit
    displayed = [[(one + empty)[: methods.SHOWN] for one in row] for row in accuracy]
    np.testing.assert_allclose(right, displayed, atol=1e-6)


def test_networks_convert_back_to_their_points_and_have_the_expected_outputs(material):
    x = material[0]
    points = jax.random.normal(jax.random.key(0), (2, 3, 4 * 26))
    network = methods.as_network(points, 4)
    np.testing.assert_allclose(methods.as_points(network), points, rtol=1e-6)
    one = jax.tree.map(lambda a: a[1, :1], network)
    wanted = np.maximum(x[:5] @ np.asarray(one[0][0]).T, 0) @ np.asarray(one[1][0])
    np.testing.assert_allclose(methods.outputs(one, x[:5])[0], wanted, rtol=1e-4)


def test_slopes_and_ratios_are_those_of_simulated_errors():
    """The error of descents is 0.8 k^-0.2 times that of sampled networks."""
    k = np.array([2, 4, 8, 16, 32])
    rng = np.random.default_rng(0)
    log_ratio = np.log(0.8) - 0.2 * np.log(k) + 0.01 * rng.normal(size=(16, 5))
    slope = guessing.slopes(log_ratio, k)
    assert slope.low < -0.2 * np.log(2) < slope.high
    assert slope.high - slope.low < 0.01
    ratio = guessing.exponential_mean(np.log([1.0, 2.0, 4.0]))
    assert ratio.value == pytest.approx(2)
    assert ratio.low * ratio.high == pytest.approx(4)


restricted = jax.jit(restrict, static_argnums=(3, 4))


def test_steps_without_a_restriction_leave_the_normal_distribution_invariant_and_approach_it():
    normal, far = jax.random.normal(jax.random.key(0), (8000, 2)), jnp.full((8000, 2), 5.0)
    for points, steps in ((normal, 20), (far, 60)):
        result = restricted(jax.random.key(1), points, 0.5, lambda w: jnp.ones(len(w), bool), steps)
        assert result.acceptance_rate == result.share == 1
        assert not np.isclose(result.points, points).any(axis=1).all()
        np.testing.assert_allclose(result.points.mean(axis=0), 0, atol=0.04)
        np.testing.assert_allclose(np.cov(result.points.T), np.eye(2), atol=0.05)


def test_a_half_space_is_reached_with_the_probability_and_mean_of_a_normal_tail():
    """Three levels reach w_0 > 3, with probability 0.00135 and mean phi(3) / P(w_0 > 3)."""
    points, size, log_probability = jax.random.normal(jax.random.key(3), (4000, 3)), 1.0, 0.0
    for level in (1.0, 2.0, 3.0):
        result = restricted(
            jax.random.key(4), points, size, lambda w, level=level: w[:, 0] > level, 40
        )
        points, size = result.points, result.step_size
        log_probability += np.log(result.share)
    assert log_probability == pytest.approx(stats.norm.logsf(3), abs=0.2)
    wanted = stats.norm.pdf(3) / stats.norm.sf(3)
    assert points[:, 0].mean() == pytest.approx(wanted, abs=0.03)
    np.testing.assert_allclose(points[:, 1:].mean(axis=0), 0, atol=0.06)
    np.testing.assert_allclose(points[:, 1:].var(axis=0), 1, atol=0.1)
    assert result.acceptance_rate == pytest.approx(0.3, abs=0.1)


def test_the_probability_and_the_mean_of_a_wedge_equal_their_closed_forms():
    """P(w_0 > 0, r w_0 + (1 - r^2)^(1/2) w_1 > 0) = 1/4 + asin(r) / (2 pi)."""
    r = -0.8
    direction = jnp.array([r, (1 - r**2) ** 0.5])
    points = jax.random.normal(jax.random.key(5), (8000, 2))
    half = restricted(jax.random.key(6), points, 1.0, lambda w: w[:, 0] > 0, 20)
    wedge = restricted(
        jax.random.key(7), half.points, 1.0, lambda w: (w[:, 0] > 0) & (w @ direction > 0), 20
    )
    wanted = 1 / 4 + np.arcsin(r) / (2 * np.pi)
    assert half.share * wedge.share == pytest.approx(wanted, rel=0.08)
    # The mean of w_0 in the wedge is (1 + r) / (2 (2 pi)^(1/2)), divided by the probability.
    mean = (1 + r) / (2 * (2 * np.pi) ** 0.5) / wanted
    assert wedge.points[:, 0].mean() == pytest.approx(mean, abs=0.04)


def test_a_set_without_members_has_the_share_0():
    points = jax.random.normal(jax.random.key(8), (50, 2))
    result = restricted(jax.random.key(9), points, 0.5, lambda w: w[:, 0] > 100, 3)
    assert result.share == result.acceptance_rate == 0


def test_margins_do_not_depend_on_scales_and_are_those_of_the_first_images():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 6, 5)), rng.choice([-1.0, 1.0], size=(2, 6))
    sets = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)
    points = jnp.asarray(rng.normal(size=(2, 3, 4 * 6)), jnp.float32)
    result = least_margins(points, sets, 4)
    np.testing.assert_allclose(least_margins(3 * points, sets, 4), result, rtol=1e-5)
    for s in range(2):
        W, v = (np.asarray(a) for a in methods.as_network(points[s], 4))
        margin = np.asarray(methods.outputs((W, v), x[s, :4])) * y[s, :4]
        scale = [np.linalg.norm(W[i]) * np.linalg.norm(v[i]) for i in range(3)]
        np.testing.assert_allclose(result[s], margin.min(axis=1) / scale, rtol=1e-4)


def test_the_nearest_member_of_the_same_set_is_taken():
    keys, values = np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([[10.0, 11.0], [12.0, 13.0]])
    result = nearest(keys, values, np.array([[0.4, 0.6], [9.0, 0.0]]))
    np.testing.assert_array_equal(result, [[10, 11], [13, 12]])
