"""Invariants of slabs and of compiled programs."""

import gc
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax as gd
from gdjax.base.errors import InputError
from gdjax.base.internals import FAST_COMPILATION
from gdjax.base.slabs import (
    MAX_CONSTANT_BYTES,
    CompiledFunction,
    RecentlyUsed,
    compiled_config,
    concurrent_devices,
    in_slabs,
    on_devices,
    place,
)
from gdjax.descent.outcome import Outcome

DEVICES = tuple(jax.local_devices())


@pytest.mark.parametrize(
    ("count", "width", "devices"),
    [(4, 4, 1), (4, 1, 4), (1, 3, 2), (6, 3, 2), (13, 3, 2)],
)
def test_any_number_of_runs_can_be_computed_in_slabs(count, width, devices):
    """Results are in the order of the runs, without the padding of the last slab."""

    def one(run, shift):
        key, x = run
        return {"moved": x + shift, "drawn": jax.random.uniform(key)}

    program = CompiledFunction(jax.vmap(one, (0, None)))
    keys = jax.random.split(jax.random.key(0), count)
    x = np.arange(2.0 * count, dtype=np.float32).reshape(count, 2)
    shared = (jnp.full(2, 10.0),)
    result = in_slabs(program, width, (keys, x), shared, devices=DEVICES[:devices])
    np.testing.assert_array_equal(result["moved"], x + 10)
    np.testing.assert_array_equal(result["drawn"], jax.vmap(jax.random.uniform)(keys))
    assert len(program.compiled) == min(devices, -(-count // width))  # once for each device in use


def test_arrays_placed_on_a_device_are_copies():
    call = CompiledFunction(jax.vmap(lambda x: x + 1), donate=(0,))
    user_defined = jnp.arange(4.0)
    for device in DEVICES[:2]:
        call(placed := place(user_defined, device))
        assert placed.is_deleted()
        assert user_defined.tolist() == [0.0, 1.0, 2.0, 3.0]
    floats = np.zeros(32, np.float32)
    aligned = floats[-floats.ctypes.data % 64 // 4 :][:4]  # JAX would use its memory
    placed = place(aligned, DEVICES[1])
    aligned[:] = 1
    assert placed.tolist() == [0.0] * 4


# -- devices


def test_results_of_several_devices_are_in_the_order_of_the_items():
    def slow_first(item, device):
        time.sleep(0.05 * (item == 0))
        return item, device

    results = list(on_devices(slow_first, range(7), DEVICES[:3]))
    assert [item for item, _ in results] == list(range(7))
    assert {device for _, device in results} <= {*DEVICES[:3]}


def test_threads_of_devices_have_the_settings_of_the_caller():
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        made = list(
            on_devices(lambda _, d: (jnp.ones(1).dtype, compiled_config()), [0, 1], DEVICES)
        )
        assert made == [(np.float64, compiled_config())] * 2


def test_an_error_on_a_device_is_raised_in_the_thread_of_the_caller():
    def fails(item, _device):
        if item == 3:
            raise ValueError("item 3")
        return item

    with pytest.raises(ValueError, match="item 3"):
        list(on_devices(fails, range(100), DEVICES[:2]))


# -- programs


def test_a_program_is_compiled_once_for_each_shape_and_type_also_in_advance():
    traces = []

    def third(x):
        traces.append((x.shape, x.dtype))
        return x / 3

    program = CompiledFunction(third)
    assert program.seconds == 0
    seconds = []
    for shape in [(3,), (3,), (4,), (3,)]:
        assert program(jnp.ones(shape)).tolist() == [np.float32(1 / 3)] * shape[0]
        seconds.append(program.seconds)  # the time of compilations
    assert 0 < seconds[0] == seconds[1] < seconds[2] == seconds[3]
    with jax.enable_x64(True):
        x = jnp.ones(2)
        program.ahead(jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding))
        assert program(x).tolist() == [1 / 3, 1 / 3]
        assert program.compile(x) is program.compile(x)
    assert program.seconds > seconds[-1]
    assert traces == [((3,), np.float32), ((4,), np.float32), ((2,), np.float64)]


def test_a_program_compiled_in_float32_is_not_used_in_float64():
    program = CompiledFunction(lambda x: jnp.asarray(np.float64(1) / 3) * x)
    single = program(np.float32(1))
    with jax.enable_x64(True):
        double = program(np.float32(1))
    assert (single.dtype, double.dtype) == (jnp.float32, jnp.float64)


def test_disabled_compilation_raises_an_error():
    with jax.disable_jit(), pytest.raises(InputError, match="jax_disable_jit = True, expected Fal"):
        CompiledFunction(lambda x: 2 * x)(jnp.ones(2))


def test_unrecorded_nan_raises_no_error_under_debug_nans():
    bowl = gd.problems.bowl([1.0, 4.0])
    with jax.debug_nans(True), jax.debug_infs(True):
        runs = gd.sweep(bowl, gd.axes(learning_rate=[0.1, 10.0]), 60, record_every=20)
    assert runs.outcome.values.tolist() == [Outcome.NOT_CONVERGED, Outcome.DIVERGED]
    assert np.isposinf(runs.cost.values[1, -1])


@pytest.mark.long
def test_the_default_adjoint_of_diffrax_works_on_one_and_two_devices():
    import diffrax

    def cost(w, y0):
        term = diffrax.ODETerm(lambda t, y, w: w * y)
        solution = diffrax.diffeqsolve(term, diffrax.Euler(), 0.0, 1.0, 0.5, y0, args=w)
        return jnp.sum(solution.ys)

    starts, y0 = jnp.arange(4.0), jnp.ones(1)
    program = CompiledFunction(jax.vmap(jax.grad(cost), (0, None)))
    result = [in_slabs(program, 2, starts, (y0,), devices=DEVICES[:n]) for n in (1, 2)]
    np.testing.assert_array_equal(result[0], result[1])
    np.testing.assert_allclose(result[0], 1 + starts / 2, rtol=1e-6)  # derivative of (1 + w/2)^2


@pytest.mark.parametrize(
    "call",
    [
        jnp.linalg.eigvalsh,
        jnp.linalg.svd,
        jnp.linalg.eigvals,
        jnp.linalg.qr,
        jnp.linalg.cholesky,
        jax.lax.linalg.lu,
        lambda a: jax.scipy.linalg.solve_triangular(a, a[0]),
    ],
)
def test_routines_of_lapack_are_computed_on_one_cpu_device(call):
    """LAPACK's routines can deadlock if several devices compute them at once."""
    matrices = np.eye(20)[None].repeat(2, axis=0)
    program = CompiledFunction(jax.vmap(call))
    assert concurrent_devices([program.compile(matrices)], DEVICES) == DEVICES[:1]
    in_slabs(program, 1, matrices, devices=DEVICES)
    devices = {next(iter(kind[2]))[-1].device_set.pop() for kind in [*program.compiled][1:]}
    assert devices == {DEVICES[0]}
    compiled = CompiledFunction(jax.vmap(lambda a: a @ a)).compile(matrices)
    assert concurrent_devices([compiled], DEVICES) == DEVICES


@pytest.mark.long
def test_random_numbers_do_not_depend_on_compiler_optimizations():
    def drawn(key):
        return jax.random.normal(key, (7, 5)), jax.random.truncated_normal(key, -1, 1, (9,))

    keys = jax.random.split(jax.random.key(0), 3)
    lowered = jax.jit(jax.vmap(drawn)).lower(keys)
    usual = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}
    less, more = (lowered.compile(options)(keys) for options in (FAST_COMPILATION, usual))
    for a, b in zip(less, more, strict=True):
        assert np.array_equal(a, b)


def test_executables_keep_few_closed_over_arrays_and_none_after_they_are_cleared():
    """`jax.live_arrays` counts arrays of 2^24 bytes that only caches refer to."""

    def run(number):
        array = jnp.full((2**11, 2**11), float(number))
        problem = gd.Problem(init=lambda key: jnp.ones(2), cost=lambda w: w @ w + array[0, 0])
        gd.descend(problem, optax.sgd(0.1), jnp.ones(2), 1, key=jax.random.key(0))

    def live_bytes():
        jax.clear_caches()  # JAX also keeps references
        gc.collect()
        return sum(array.nbytes for array in jax.live_arrays() if array.nbytes == 2**24)

    gd.clear_caches()
    for number in range(12):
        run(number)
    # The last program is counted when the next one is made, and a program may hold a copy.
    assert 0 < live_bytes() <= 2 * (MAX_CONSTANT_BYTES + 2**24)
    gd.clear_caches()
    assert live_bytes() == 0


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="memory maps are not listed")
def test_programs_of_other_problems_are_dropped_least_recently_used_first():
    """Each `classify` of another problem kept some 600 memory maps of 65,530 for ever."""
    compiled = RecentlyUsed(lambda problem, w: jax.jacfwd(jax.grad(problem.cost))(w))

    def num_maps(shifts):
        for shift in shifts:
            cost = partial(lambda shift, w: jnp.sum((w - shift) ** 4), shift)
            problem = gd.Problem(lambda key: jnp.ones(2), cost)
            assert compiled(problem, jnp.zeros(2))[0, 0] == 12 * shift**2
        gc.collect()
        return len(Path("/proc/self/maps").read_text().splitlines())

    first = num_maps(range(RecentlyUsed.max_programs + 2))
    assert num_maps(range(100, 120)) < first + 10  # jax.jit adds 60
