"""The guessing experiment, compared with a loop over random networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.guessing import __main__ as guessing
from experiments.guessing import model as methods
from experiments.guessing.model import Config
from gdjax.errors import InputError


@pytest.fixture(scope="module")
def material():
    config = Config(sets=3, most=6)
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
        guessing.cut(Config(most=64), y)


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
