"""Mapping of a function over runs, in slabs of fixed width, on several devices.

    program = CompiledFunction(jax.vmap(f, (0, None)))      program(slab of runs, shared) -> results

A *slab* is a number of runs that one device computes together. The last bits of a run's results
depend on this number, its *width*, which is therefore a function of the program alone. They depend
neither on the position of the run in the slab, nor on the other runs, nor on which of several equal
devices computes the slab. Each device runs the same program, and several devices take several
slabs at once.

>>> import jax, jax.numpy as jnp
>>> squares = CompiledFunction(jax.vmap(lambda x, shift: x * x + shift, (0, None)))
>>> in_slabs(squares, 2, jnp.arange(5.0), (jnp.ones(()),), devices=jax.local_devices()).tolist()
[1.0, 2.0, 5.0, 10.0, 17.0]
"""

import concurrent.futures
import contextlib
import dataclasses
import queue
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Hashable, Iterable, Sequence
from functools import cached_property, partial
from typing import Any, ClassVar, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding
from jaxtyping import PyTree

from gdjax.base import machine, progress
from gdjax.base.errors import InputError, explained
from gdjax.base.internals import (
    DECOMPOSITIONS,
    FAST_COMPILATION,
    NUMERIC_SETTINGS,
    THREAD_SETTINGS,
    setting,
)

OPERATIONS = (
    "expected operations that JAX can compile, differentiate and map over runs (of a callback: "
    "with a vmap_method and a derivative)"
)
Item = TypeVar("Item")
Result = TypeVar("Result")


def place(runs: PyTree, device: jax.Device) -> PyTree:
    """Return copies of arrays on a device, whose memory a program may reuse."""
    # A device may use the memory of a NumPy array, even with `may_alias=False`.
    copies = jax.tree.map(
        lambda a: np.array(a) if isinstance(a, np.ndarray) else jnp.array(a, copy=True), runs
    )
    return jax.device_put(copies, device)


def rows_of(runs: PyTree, first: int, width: int) -> PyTree:
    """Return `width` runs from `first` on; copies of the last run fill the last slab."""
    count = jax.tree.leaves(runs)[0].shape[0]
    rows = np.minimum(np.arange(first, first + width), count - 1)
    return jax.tree.map(lambda a: a[rows], runs)


def on_devices(
    function: Callable[[Item, jax.Device], Result],
    items: Iterable[Item],
    devices: Sequence[jax.Device],
) -> Generator[Result]:
    """Return an iterator over `function(item, device)`, with one thread per device.

    Results are in the order of the items. With a single device, the caller's thread is used.
    """
    if len(devices) == 1:
        yield from (function(item, devices[0]) for item in items)
        return
    settings = {name: setting(name) for name in THREAD_SETTINGS}
    available: queue.SimpleQueue[jax.Device] = queue.SimpleQueue()
    for device in devices:
        available.put(device)

    def on_next_device(item):
        device = available.get()
        try:
            with contextlib.ExitStack() as stack:
                for name, value in settings.items():
                    stack.enter_context(THREAD_SETTINGS[name](value))
                return function(item, device)
        finally:
            available.put(device)

    pending: deque[concurrent.futures.Future[Result]] = deque()
    with concurrent.futures.ThreadPoolExecutor(len(devices)) as pool:
        try:
            for item in items:
                pending.append(pool.submit(on_next_device, item))
                if len(pending) > len(devices):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


@dataclasses.dataclass(frozen=True)
class Compiled:
    """An executable of XLA.

    Args:
        executable: the executable, or the future in which it is compiled.
        decomposes: whether the program calls routines of LAPACK (see `concurrent_devices`).
        results: shapes and types of the results.
        constant_nbytes: size of the arrays that the function closes over, which are kept.
    """

    executable: Any
    decomposes: bool = False
    results: PyTree = None
    constant_nbytes: int = 0

    @cached_property
    def nbytes(self) -> int:
        """Memory that the program needs on a device, in bytes."""
        sizes = self.executable.memory_analysis()
        total = sizes.argument_size_in_bytes + sizes.output_size_in_bytes
        return total + sizes.temp_size_in_bytes - sizes.alias_size_in_bytes


# Number of keys whose executables are kept, and size of the arrays that these keep. The least
# recently used go first.
MAX_PROGRAMS, MAX_CONSTANT_BYTES = 128, 2**26
_executables: OrderedDict[Hashable, dict[Any, Compiled]] = OrderedDict()
_lock = threading.Lock()


def forget_executables() -> None:
    """Forget all executables that functions share."""
    with _lock:
        _executables.clear()
        RecentlyUsed._programs.clear()


def executables_of(key: Hashable) -> dict[Any, Compiled]:
    """Return the executables of all functions with a key, by kind of arguments."""
    with _lock:
        compiled = _executables[key] = _executables.pop(key, {})
        nbytes = [sum(c.constant_nbytes for c in each.values()) for each in _executables.values()]
        for first in range(len(nbytes) - 1):
            if len(_executables) <= MAX_PROGRAMS and sum(nbytes[first:]) <= MAX_CONSTANT_BYTES:
                break
            _executables.popitem(last=False)
        return compiled


class RecentlyUsed:
    """A function compiled by `jax.jit`, whose programs are dropped least recently used first.

    A process may have some 65,000 memory maps, of which a large program takes several hundred. All
    functions of this kind together keep `max_programs` programs.

    Args:
        function: pure function of pytrees; problems are arguments.
        static_argnames: names of static keywords.

    Examples:
        >>> double = RecentlyUsed(lambda x: 2 * x)
        >>> float(double(1.5))
        3.0
    """

    max_programs = 16
    _programs: ClassVar[OrderedDict[Hashable, Callable]] = OrderedDict()

    def __init__(self, function: Callable, *, static_argnames: tuple[str, ...] = ()):
        self.function, self.static_argnames = function, static_argnames

    def __call__(self, *arguments: PyTree, **keywords: Any) -> PyTree:
        static = tuple((name, keywords.get(name)) for name in self.static_argnames)
        traced = {name: v for name, v in keywords.items() if name not in self.static_argnames}
        leaves, structure = jax.tree.flatten((arguments, traced))
        key = (self.function, static, structure, tuple(map(jnp.shape, leaves)))
        with _lock:
            # A partial function is a new object, whose programs JAX drops together with it.
            program = self._programs.pop(key, None) or jax.jit(
                partial(self.function), static_argnames=self.static_argnames
            )
            self._programs[key] = program
            if len(self._programs) > self.max_programs:
                self._programs.popitem(last=False)
        return program(*arguments, **keywords)


class CompiledFunction:
    """A function, compiled once per kind of arguments and configuration of JAX.

    Arguments of one kind have equal structures, shapes, types and shardings. The attribute
    `seconds` is the total time that `compile` has spent on programs or on waiting for them.

    Args:
        function: pure function of arrays.
        key: what the function computes: functions with equal keys share executables, and the one
            that is called with arguments of a new kind is traced; None shares nothing.
        donate: positions of arguments whose memory the results may reuse.
        fast_compilation: whether to compile with fewer optimizations, for a program that is called
            once. Random numbers take the longest to compile: the initial weights of a network took
            1.4 s of processor time, and take 0.5 s with this option, with bitwise equal results.
            Loops over runs are then not computed several runs at a time, which may change last
            bits.
    """

    def __init__(
        self,
        function: Callable,
        *,
        key: Hashable = None,
        donate: tuple[int, ...] = (),
        fast_compilation: bool = False,
    ):
        self.jitted = jax.jit(function, donate_argnums=donate)
        self.fast_compilation = fast_compilation
        self.compiled = {} if key is None else executables_of(key)
        self.seconds = 0.0
        self._traced: dict[Any, Any] = {}

    def compile(self, *arguments: PyTree) -> Compiled:
        """Return the executable for these arguments (arrays or shapes), compiled once."""
        signature = _signature(arguments)
        started = time.perf_counter()
        if signature not in self.compiled:
            lowered, *details = self._lower(signature, arguments)
            executable = self._compile(lowered)
            self.compiled[signature] = Compiled(executable, _decomposes(lowered), *details)
            self.seconds += time.perf_counter() - started
        compiled = self.compiled[signature]
        if isinstance(compiled.executable, concurrent.futures.Future):
            compiled = dataclasses.replace(compiled, executable=compiled.executable.result())
            self.compiled[signature] = compiled
            self.seconds += time.perf_counter() - started
        return compiled

    def results(self, *arguments: PyTree) -> PyTree:
        """Return the shapes and types of the results for these arguments, traced once."""
        signature = _signature(arguments)
        if signature in self.compiled:
            return self.compiled[signature].results
        return self._trace(signature, arguments).out_info

    def ahead(self, *arguments: PyTree) -> None:
        """Start compiling for these arguments in a thread, for which `compile` waits.

        The function is traced in the caller's thread, under its settings.
        """
        signature = _signature(arguments)
        if signature not in self.compiled:
            lowered, *details = self._lower(signature, arguments)
            pool = concurrent.futures.ThreadPoolExecutor(1)
            executable = pool.submit(self._compile, lowered)
            self.compiled[signature] = Compiled(executable, _decomposes(lowered), *details)
            pool.shutdown(wait=False)

    def _trace(self, signature, arguments):
        if setting("jax_disable_jit"):
            raise InputError(
                "jax_disable_jit = True, expected False, since runs are compiled programs; unset "
                "JAX_DISABLE_JIT, and debug single steps with gd.descent.step"
            )
        with explained("cost or metric: could not be compiled", OPERATIONS):
            if signature not in self._traced:
                self._traced[signature] = self.jitted.trace(*arguments)
            return self._traced[signature]

    def _lower(self, signature, arguments):
        traced = self._trace(signature, arguments)
        self._traced.pop(signature, None)
        with explained("cost or metric: could not be compiled", OPERATIONS):
            constants = sum(getattr(array, "nbytes", 0) for array in traced.jaxpr.consts)
            return traced.lower(), traced.out_info, constants

    def _compile(self, lowered):
        unoptimized = setting("jax_disable_most_optimizations")
        return lowered.compile(
            FAST_COMPILATION if self.fast_compilation and not unoptimized else None
        )

    def __call__(self, *arguments: PyTree) -> PyTree:
        # NaN and infinity are valid results, for values that are not recorded and for diverged
        # runs.
        with jax.debug_nans(False), jax.debug_infs(False):
            return self.compile(*arguments).executable(*arguments)


def _decomposes(lowered):
    return bool(DECOMPOSITIONS.search(lowered.as_text()))


def concurrent_devices(
    compiled: Iterable[Compiled], devices: Sequence[jax.Device]
) -> tuple[jax.Device, ...]:
    """Return the devices that can run programs at the same time, which may be one.

    On CPUs, LAPACK's routines wait for threads of the pool in which they run. If several devices
    compute them at once, no thread may be available, and two devices on two cores deadlocked. A
    single device can use all threads of the pool.
    """
    if devices[0].platform == "cpu" and any(program.decomposes for program in compiled):
        return tuple(devices[:1])
    return tuple(devices)


def compiled_config() -> tuple[Any, ...]:
    """Return the settings of JAX on which a compiled program depends."""
    return tuple(map(setting, NUMERIC_SETTINGS))


def _signature(arguments):
    """Return the configuration and argument properties that determine a program."""
    leaves, structure = jax.tree.flatten(arguments)
    return (
        compiled_config(),
        structure,
        tuple((a.shape, a.dtype, _is_weak(a), getattr(a, "sharding", None)) for a in leaves),
    )


def shapes(tree: PyTree, device: jax.Device | None = None) -> PyTree:
    """Return the shapes and types that arrays have in JAX, without allocating memory.

    Args:
        tree: pytree of arrays or of their shapes.
        device: device of the arrays; None for shapes without a device.
    """
    sharding = None if device is None else SingleDeviceSharding(device)

    def shape(array):
        try:
            like = array if isinstance(array, jax.ShapeDtypeStruct) else jax.typeof(array)
        except TypeError:  # another library's array, which only `asarray` converts
            like = jax.eval_shape(jnp.asarray, array)
        return jax.ShapeDtypeStruct(
            like.shape, like.dtype, sharding=sharding, weak_type=_is_weak(like)
        )

    return jax.tree.map(shape, tree)


def _is_weak(array):
    return getattr(array, "weak_type", False)  # keys have no weak type


def in_slabs(
    program: CompiledFunction,
    width: int,
    runs: PyTree,
    shared: Sequence[PyTree] = (),
    *,
    devices: Sequence[jax.Device],
    unit: str = "run",
) -> PyTree:
    """Run the program of a slab on any number of runs, one slab after another on each device.

    The last slab is padded (see `rows_of`). On a terminal, a progress bar appears after two
    seconds.

    Args:
        program: program of one slab, `program(runs, *shared) -> outs`.
        width: number of runs of a slab.
        runs: arrays with a leading axis of runs, at least one run.
        shared: arrays that all runs share.
        devices: devices, which take slabs in turn.
        unit: name of a run in the progress bar.

    Returns:
        The results of all runs, as arrays on the host, with a leading axis of runs.
    """
    runs = jax.tree.map(lambda a: a if _is_key(a) else np.asarray(a), runs)
    count = jax.tree.leaves(runs)[0].shape[0]
    firsts = range(0, count, width)
    copies = {device: jax.device_put(tuple(shared), device) for device in devices[: len(firsts)]}
    example = place(rows_of(runs, 0, width), devices[0]), *copies[devices[0]]
    usable = concurrent_devices([program.compile(*example)], tuple(copies))

    def compute(first, device):
        placed = place(rows_of(runs, first, width), device)
        return jax.tree.map(np.asarray, program(placed, *copies[device]))

    results = []
    with progress.bar(total=count, unit=unit) as bar:
        for result in on_devices(compute, firsts, usable):
            results.append(result)
            bar.update(min(width, count - width * (len(results) - 1)))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *results)


def _is_key(array):
    return jax.dtypes.issubdtype(getattr(array, "dtype", None), jax.dtypes.prng_key)


def memory_limit(device: jax.Device) -> int:
    """Return the memory limit of a device in bytes, or else that of the host."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return int(stats["bytes_limit"])
    return machine.memory()
