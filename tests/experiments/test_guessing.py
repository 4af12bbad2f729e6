"""The guessing experiment, compared with a loop over random networks."""

import guessing
import jax
import jax.numpy as jnp
import methods.guessing
import numpy as np
import pytest
from guessing import Config


@pytest.fixture(scope="module")
def material():
    config = Config(sets=3, most=6)
    x, y = guessing.images(config)
    chosen, others = guessing.cut(config, y)
    sets, rest = (
        (jnp.asarray(x[i], jnp.float32), jnp.asarray(y[i], jnp.float32)) for i in (chosen, others)
    )
    return x, y, chosen, others, sets, rest


def test_images_are_split_into_sets_with_alternating_digits(material):
    x, y, chosen, others, *_ = material
    assert x.shape == (1000, 25)
    np.testing.assert_allclose([x.mean(axis=0).max(), x.std()], [0, 1], atol=1e-5)
    np.testing.assert_array_equal(y[chosen], np.tile([-1, 1], (3, 3)))
    assert len(np.unique(np.concatenate([chosen.ravel(), others]))) == 1000


def test_counts_and_accuracies_of_a_block_equal_those_of_a_loop(material):
    *_, sets, rest = material
    count, hidden = 256, 4
    result, right = methods.guessing.block(
        jax.random.key(0), sets, rest, count=count, hidden=hidden
    )
    first, second = (
        np.asarray(a) for a in methods.guessing.drawn(jax.random.key(0), count, 25, hidden)
    )
    expected = np.zeros((3, 3), int)
    accuracy = [[[] for _ in range(3)] for _ in range(3)]
    for W, v in zip(first, second, strict=True):
        for sign in (1, -1):
            for s, (x, y) in enumerate(zip(*map(np.asarray, sets), strict=True)):
                fits = (sign * np.maximum(x @ W.T, 0) @ v) * y > 0
                for place in range(3):
                    if fits[: 2 * (place + 1)].all():
                        expected[s, place] += 1
                        out = sign * np.maximum(np.asarray(rest[0]) @ W.T, 0) @ v
                        accuracy[s][place].append(np.mean(out * np.asarray(rest[1]) > 0))
    np.testing.assert_array_equal(result, expected)
    empty = methods.guessing.SHOWN * [np.nan]  # if fewer guesses fit
    displayed = [[(one + empty)[: methods.guessing.SHOWN] for one in row] for row in accuracy]
    np.testing.assert_allclose(right, displayed, atol=1e-6)


@pytest.mark.long
def test_guessed_and_trained_networks_are_compared(material):
    """More than half of the descents fit two images."""
    config = Config(sets=4, most=8, blocks=6, guesses=512, trained=4, steps=300)
    result = guessing.run(config)
    assert result.k.values.tolist() == [2, 4, 6, 8]
    assert (np.diff(result.accepted.values, axis=1) <= 0).all()
    numbers = guessing.numbers(result)
    assert numbers["descents_that_fit_2"] > 0.5
    low, high = numbers["gain_on_4"][1:]
    assert low < numbers["gain_on_4"][0] < high
    guessing.plot(result)["guesses"].canvas.draw()
