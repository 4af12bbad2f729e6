"""Bits of runs of programs whose loops LLVM computes differently at the end of a slab."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdjax as gd
from gdjax.sweeps import fit

SEEDS = np.arange(40, 104)


def convolved(random, n=7, m=19):
    X = random.standard_normal((m, n)).astype(np.float32)
    return lambda a, b: jnp.tanh(X * jnp.convolve(a, b, mode="same")[None])


OPERATIONS = (
    lambda a, b: jnp.correlate(a, b, mode="same"),
    lambda a, b: jnp.cumsum(jnp.tanh(jnp.roll(a, 1) * b)),
    lambda a, b: jnp.real(jnp.fft.ifft(jnp.fft.fft(a) * b)),
    lambda a, b: jax.lax.reduce_window(a * b, 0.0, jax.lax.add, (3,), (1,), "SAME"),
    lambda a, b: jnp.sort(a) / jnp.sqrt(1 + jnp.sum(b**2)),
    lambda a, b: jax.nn.softmax(a) * jnp.polyval(a[:3], b),
    lambda a, b: jax.nn.gelu(jnp.roll(a, 1) * b + a),
    lambda a, b: jnp.outer(a, b).sum(0) + jnp.cumprod(1 + 0.1 * a) * b,
)


def random_program(random):
    """Return a random composition of two operations, on random data."""
    n, m = random.integers(2, 12), random.integers(1, 24)
    X = random.standard_normal((m, n)).astype(np.float32)
    first, second = (OPERATIONS[i] for i in random.integers(len(OPERATIONS), size=2))
    return n, lambda a, b: jnp.tanh(X * second(jnp.sin(first(a, b)), b)[None])


def problem_of(programs):
    """Return a problem whose cost is the sum of several programs, each with own parameters."""

    def init(key):
        keys = jax.random.split(key, len(programs))
        return [jax.random.normal(k, (2, n)) for k, (n, _) in zip(keys, programs, strict=True)]

    def cost(params):
        pairs = zip(programs, params, strict=True)
        return sum(jnp.mean(function(p[0], p[1])) for (_, function), p in pairs)

    return gd.Problem(init=init, cost=cost)


def bits(problem, seeds, **options):
    runs = gd.sweep(problem, gd.axes(learning_rate=[0.1], seed=seeds), 10, **options)
    assert runs.bits_checked == "true"
    runs = runs.sel(seed=np.sort(seeds))
    names = ("cost", "gradient_norm", "params.0")
    return {name: runs[name].isel(learning_rate=0).values for name in names}


def test_bits_of_a_small_convolution_do_not_depend_on_the_other_runs():
    """Its runs at positions 28 to 31 of a slab of 32 had other bits, and at 12 to 15 of 16."""
    problem = problem_of([(7, convolved(np.random.default_rng(1)))])
    whole = bits(problem, SEEDS, devices=jax.local_devices()[:1])
    for seeds in (SEEDS[::-1].copy(), SEEDS[:1], SEEDS[[7, 30, 61]]):
        other = bits(problem, seeds)
        at = np.searchsorted(SEEDS, np.sort(seeds))
        assert all(other[name].tobytes() == whole[name][at].tobytes() for name in whole)


def test_a_program_whose_bits_depend_on_the_slab_is_reported(monkeypatch, tmp_path):
    """On an accelerator there is no remedy, so results, stores and replays say so."""
    problem = gd.problems.bowl([1.0, 4.0])
    monkeypatch.setattr(fit, "have_equal_bits", lambda program: False)
    monkeypatch.setattr(fit, "REMEDIED", ())
    with pytest.warns(UserWarning, match="last bits of a run depend on its place"):
        runs = gd.sweep(problem, gd.axes(learning_rate=[0.1, 0.2]), 5, store=tmp_path / "s")
    assert runs.bits_checked == gd.open_dataset(tmp_path / "s").bits_checked == "false"
    with pytest.warns(UserWarning, match="last bits of a run depend on its place"):
        assert gd.replay(tmp_path / "s", {"learning_rate": 0.1}).bits_checked is False


@pytest.mark.long
@pytest.mark.parametrize("part", range(3))
def test_bits_of_random_programs_do_not_depend_on_the_slab(part):
    """Three of 30 such programs had runs with other bits on the reversed grid."""
    random = np.random.default_rng(part)
    problem = problem_of([random_program(random) for _ in range(30)])
    ordered, reverse = (bits(problem, seeds) for seeds in (SEEDS, SEEDS[::-1].copy()))
    assert all(ordered[name].tobytes() == reverse[name].tobytes() for name in ordered)
