"""Means over microbatches, compared with those over all samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdjax.problems.microbatches import in_microbatches, microbatch_size, over_batches

# Numbers of samples below, at and above a microbatch of 4, divisible by 4 or not.
CUTS = [1, 3, 4, 5, 7, 8, 9, 10, 11, 23, 24]


@settings(deadline=None)
@given(samples=st.integers(1, 5000), microbatch=st.integers(1, 1200))
def test_the_microbatch_size_is_the_largest_suitable_divisor_if_there_is_one(samples, microbatch):
    length = microbatch_size(samples, microbatch)
    assert 1 <= length <= microbatch
    if samples <= microbatch:
        assert length == samples
        return
    divisors = [b for b in range(microbatch // 2 + 1, microbatch + 1) if samples % b == 0]
    assert length == (max(divisors) if divisors else microbatch)


@pytest.mark.parametrize("samples", CUTS)
def test_value_and_gradient_equal_those_over_all_samples(samples, float64):
    rng = np.random.default_rng(samples)
    x, y, w = rng.normal(size=(samples, 3)), rng.normal(size=samples), rng.normal(size=3)
    split = in_microbatches(
        jax.value_and_grad(lambda p, xy: jnp.mean((xy["x"] @ p["w"] + p["b"] - xy["y"]) ** 2)),
        microbatch=4,
    )
    value, gradient = jax.jit(split)({"w": w, "b": 0.5}, {"x": x, "y": y})
    r = x @ w + 0.5 - y
    np.testing.assert_allclose(value, np.mean(r**2), rtol=1e-12)
    np.testing.assert_allclose(gradient["w"], 2 * x.T @ r / samples, rtol=1e-12)
    np.testing.assert_allclose(gradient["b"], 2 * np.mean(r), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("samples", CUTS)
def test_a_weighted_mean_equals_that_over_all_samples(samples, float64):
    """Microbatches of weight 0, whose own mean is 0/0, are left out."""
    rng = np.random.default_rng(samples)
    x, b = rng.normal(size=samples), rng.integers(1, 9, samples) * (np.arange(samples) // 4 != 1)
    function = jax.value_and_grad(lambda p, xb: jnp.sum(xb[1] * (p - xb[0]) ** 2) / jnp.sum(xb[1]))
    split = in_microbatches(function, microbatch=4, weight=lambda xb: jnp.sum(xb[1]))
    value, gradient = jax.jit(split)(0.5, (x, b))
    np.testing.assert_allclose(value, np.sum(b * (0.5 - x) ** 2) / np.sum(b), rtol=1e-12)
    np.testing.assert_allclose(gradient, 2 * np.sum(b * (0.5 - x)) / np.sum(b), rtol=1e-12)
    rows = jnp.arange(samples)[:, None]
    batches = over_batches(function, rows, lambda xb: jnp.sum(xb[1]))
    np.testing.assert_allclose(jax.jit(batches)(0.5, (x, b))[0], value, rtol=1e-12)


def test_memory_hardly_grows_with_the_number_of_samples():
    def wide(w, x):  # needs 1,000 numbers per sample
        return jnp.mean(jnp.sin(x[:, None] * w[None, :]) @ jnp.cos(w))

    def bytes_for(function, samples):
        shapes = jax.eval_shape(lambda: (jnp.zeros(1000), jnp.zeros(samples)))
        program = jax.jit(function).lower(*shapes).compile()
        return program.memory_analysis().temp_size_in_bytes

    gradient = jax.value_and_grad(wide)
    in_parts = in_microbatches(gradient, microbatch=50)
    split = [bytes_for(in_parts, samples) for samples in (200, 2000)]
    assert split[1] < 1.5 * split[0]
    assert bytes_for(gradient, 2000) > 5 * split[1]


@pytest.mark.parametrize("samples", [1_000_000, 300_001])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_the_mean_of_many_16_bit_numbers_equals_each_of_them(dtype, samples):
    def function(w, x):
        return {"value": jnp.mean(w * x), "per_parameter": jnp.mean(x) * jnp.ones(3, dtype)}

    x = jnp.ones(samples, dtype)
    means = [jax.jit(in_microbatches(function))(dtype(1), x)]
    means += [jax.jit(over_batches(function, jnp.zeros((3000, 4), int)))(dtype(1), x)]
    for mean in means:
        for array in jax.tree.leaves(mean):
            assert array.dtype == dtype
            np.testing.assert_array_equal(array, jnp.ones(array.shape, dtype))


def test_a_mean_of_integers_is_a_float_and_without_data_a_function_is_called_directly():
    assert in_microbatches(lambda p, data: (p, data))(3.0, None) == (3.0, None)
    mean = in_microbatches(lambda _, x: x[-1], microbatch=2)
    assert jax.jit(mean)(None, jnp.arange(6)) == 3.0
    batches = over_batches(lambda _, x: x[-1], jnp.array([[0], [3]]))
    assert jax.jit(batches)(None, jnp.arange(6)) == 1.5
