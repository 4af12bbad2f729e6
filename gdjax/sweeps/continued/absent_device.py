"""Programs of a sweep, compiled for a device that is absent.

    gd.sweep(problem, axes, ...)  ->  kernels of a step, loops, bytes   on an H100, for example

JAX compiles for devices of which it knows only the properties. The compiled text shows how many
kernels a step launches, which loops have a known number of iterations, and how much memory a slab
needs. It shows no times; for CUDA devices they are predicted from

    time of a kernel = max(launch, bytes / bandwidth, operations / rate)

CUDA devices need the packages `jax-cuda13-plugin` and `jax-cuda13-pjrt` at the version of JAX, but
no driver; a TPU needs `libtpu`. The text for a TPU gives no number of iterations, since its loops
need no host.
"""

import dataclasses
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import topologies

from gdjax.base import slabs
from gdjax.base.arguments import check_choice
from gdjax.base.errors import InputError
from gdjax.base.machine import format_bytes
from gdjax.sweeps.fit import slab_width
from gdjax.sweeps.program import Program, programs_of
from gdjax.sweeps.spec import Sweep

# XLA's properties of CUDA devices, from the vendor's data sheets: multiprocessors, clock in GHz,
# memory in bytes, its bandwidth in bytes per second, second-level cache, shared memory of a block
# and of a multiprocessor, float32 units of a multiprocessor, and compute capability.
CUDA_DEVICES = {
    "a100": (108, 1.41, 85_899_345_920, 2_039_000_000_000, 41_943_040, 166_912, 167_936, 64, 8),
    "h100": (132, 1.98, 84_942_979_072, 3_352_320_000_000, 52_428_800, 232_448, 233_472, 128, 9),
}
MEMORY_FRACTION = 0.75  # part of the memory of a GPU that JAX uses unless told otherwise
# Shortest and longest time of a launch, and of a wait for the host. They are assumptions.
LAUNCH_SECONDS, WAIT_SECONDS = np.array([1.5e-6, 5e-6]), np.array([10e-6, 30e-6])
TPU_TOPOLOGIES = {"v5e": "v5e:2x2"}
CUDA_PROPERTIES = """
gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  threads_per_core_limit: 2048 fpus_per_core: {7} registers_per_core_limit: 65536
  registers_per_block_limit: 65536 block_dim_limit_x: 2147483647 block_dim_limit_y: 65535
  block_dim_limit_z: 65535 core_count: {0} clock_rate_ghz: {1} device_memory_size: {2}
  memory_bandwidth: {3} l2_cache_size: {4} shared_memory_per_block_optin: {5}
  shared_memory_per_core: {6} cuda_compute_capability {{ major: {8} }}
}}
platform_name: "CUDA" dnn_version_info {{ major: 9 minor: 10 }}
runtime_version {{ major: 12 minor: 8 }} device_description_str: "{9}"
"""
COPIES = r"copy|copy-start|transpose|convert|broadcast|concatenate|dynamic-(?:update-)?slice|gather"
KERNEL = re.compile(rf" (fusion|custom-call|reduce|reduce-window|sort|scatter|{COPIES})\(")
SHAPE = re.compile(r"\b(pred|bf16|[suf]\d+)\[([\d,]*)\](\{[^}]*\})?")
PRODUCT = re.compile(r" (dot|convolution)\(")  # a TPU's compiler writes products as convolutions


class Kernel(NamedTuple):
    """One launch of a compiled program: its name, bytes that it transfers, and operations."""

    name: str
    bytes: int
    operations: int


class Loop(NamedTuple):
    """A loop of a compiled program.

    Args:
        trip_count: number of iterations; None if the compiler does not know it. Then a GPU waits
            for the host in each iteration.
        kernels: kernels of an iteration, without those of loops within it.
        num_inner: number of loops and branches within an iteration.
    """

    trip_count: int | None
    kernels: list[Kernel]
    num_inner: int


def absent_device(name: str) -> jax.Device:
    """Return a device that JAX compiles for: "a100", "h100", or the TPU "v5e"."""
    check_choice("device", name, [*CUDA_DEVICES, *TPU_TOPOLOGIES])
    try:
        if name in TPU_TOPOLOGIES:
            packages = "libtpu"
            os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # this machine is not in the cloud
            topology = topologies.get_topology_desc(TPU_TOPOLOGIES[name], "tpu")
        else:
            packages = f"jax-cuda13-plugin and jax-cuda13-pjrt at version {jax.__version__} of JAX"
            text = CUDA_PROPERTIES.format(*CUDA_DEVICES[name], name)
            topology = topologies.get_topology_desc(
                name, "cuda", target_config=text, topology="1x1x1"
            )
    except (RuntimeError, NotImplementedError, ValueError) as error:
        raise InputError(
            f"device = {name!r}: its compiler is missing; install {packages}"
        ) from error
    return topology.devices[0]


@dataclass(frozen=True)
class PredictedSweep:
    """What a sweep would need on a GPU that is absent: a prediction, of which nothing was measured.

    Args:
        device: name of the device.
        num_runs: number of runs.
        widths: number of runs that the device computes together, for each program.
        num_slabs: number of slabs.
        num_copies: number of copies of runs that fill the last slabs.
        slab_nbytes: memory that a slab needs on the device, in bytes.
        device_nbytes: memory of the device that JAX uses by default, in bytes.
        kernels: kernels that a step of a slab launches, for each program.
        step_nbytes: bytes that these kernels transfer, for each program.
        step_operations: floating-point operations of matrix products of a step, for each program.
        seconds_low, seconds_high: range of the time, without compilation. A kernel takes at least
            1.5 to 5 microseconds, and a wait for the host 10 to 30; transfers take the bandwidth,
            and products the rate of float32. A loop of unknown length counts once.
    """

    device: str
    num_runs: int
    widths: tuple[int, ...]
    num_slabs: int
    num_copies: int
    slab_nbytes: int
    device_nbytes: int
    kernels: tuple[int, ...]
    step_nbytes: tuple[int, ...]
    step_operations: tuple[int, ...]
    seconds_low: float
    seconds_high: float

    def __str__(self) -> str:
        def each(values: tuple[Any, ...], show: Callable[[Any], str] = str) -> str:
            return " or ".join(map(show, sorted(set(values))))

        copies = f", which {self.num_copies} copies of runs fill" if self.num_copies else ""
        return (
            f"{self.num_runs} runs on an absent {self.device}: {self.num_slabs} slabs of "
            f"{each(self.widths)} runs{copies}, {format_bytes(self.slab_nbytes)} each of "
            f"{format_bytes(self.device_nbytes)}; a step has {each(self.kernels)} kernels, which "
            f"transfer {each(self.step_nbytes, format_bytes)}; {self.seconds_low:,.2g} to "
            f"{self.seconds_high:,.2g} s, predicted from launches and bandwidth, not measured"
        )


class Work(NamedTuple):
    """Work of a part of a compiled program, and the shortest and longest time that it takes."""

    kernels: int = 0
    bytes: int = 0
    operations: int = 0
    seconds: np.ndarray = np.zeros(2)

    def plus(self, other: "Work", times: int = 1) -> "Work":
        """Return the sum with the work of a part that is computed a number of times."""
        return Work(*(a + times * b for a, b in zip(self, other, strict=True)))


def predict(sweep: Sweep, name: str) -> PredictedSweep:
    """Return what the programs of a sweep need on an absent GPU: "a100" or "h100"."""
    check_choice("device", name, [*CUDA_DEVICES])
    device = absent_device(name)
    programs = [
        dataclasses.replace(program, width=slab_width(program))
        for program in programs_of(sweep, [device])
    ]
    blocks = [compiled_block(program, device) for program in programs]
    num_slabs = [program.num_slabs for program in programs]
    steps, seconds = zip(
        *(_step_and_slab(p, block, name) for p, block in zip(programs, blocks, strict=True)),
        strict=True,
    )
    low, high = np.dot(num_slabs, seconds)
    return PredictedSweep(
        device=name,
        num_runs=sweep.axes.runs,
        widths=tuple(program.width for program in programs),
        num_slabs=sum(num_slabs),
        num_copies=sum(program.num_copies for program in programs),
        slab_nbytes=max(block.nbytes for block in blocks),
        device_nbytes=round(MEMORY_FRACTION * CUDA_DEVICES[name][2]),
        kernels=tuple(step.kernels for step in steps),
        step_nbytes=tuple(step.bytes for step in steps),
        step_operations=tuple(step.operations for step in steps),
        seconds_low=float(low),
        seconds_high=float(high),
    )


def _step_and_slab(program, block, name):
    """Return the work of a step, and the shortest and longest time of a slab, in seconds.

    The loop over chunks, the only one of unknown length outside of user functions, has one chunk
    for each `chunk_steps` steps between records, and one for the last record.
    """
    text = block.executable.as_text()
    computations = _computations(text)
    (entry,) = re.findall(r"^ENTRY %?([\w.\-]+)", text, re.M)
    chunk = next(
        _called(line)[0]
        for line in computations[entry].values()
        if " while(" in line and not _trip_count(line)
    )
    idle, recording = (_work(chunk, computations, name, choose) for choose in (min, max))
    chunk_steps, step = program.descent.config.chunk_steps, idle
    if chunk_steps > 1:
        step = max(
            (
                _work(_called(line)[0], computations, name, max)
                for line in computations[chunk].values()
                if " while(" in line and _trip_count(line) == chunk_steps
            ),
            key=lambda work: work.kernels,
        )
    records = program.schedule.recorded_steps()
    chunks = int(np.sum(-(-np.diff(records) // chunk_steps))) + 1
    return step, len(records) * recording.seconds + (chunks - len(records)) * idle.seconds


def _work(computation, computations, name, choose):
    """Return the work of a computation, with the longest (max) or shortest (min) branches."""
    cores, clock, _, bandwidth, *_, units, _ = CUDA_DEVICES[name]
    rate = 2 * cores * units * clock * 1e9  # a unit multiplies and adds at a time
    body, total = computations[computation], Work()
    for key, line in body.items():
        within = [_work(c, computations, name, choose) for c in _called(line)]
        if " while(" in line:
            count = _trip_count(line)
            total = total.plus(within[0], count or 1)
            total = total.plus(Work(seconds=WAIT_SECONDS), count is None)
        elif within:
            total = total.plus(choose(within, key=lambda work: work.seconds[0]))
            total = total.plus(Work(seconds=WAIT_SECONDS), " conditional(" in line)
        elif KERNEL.search(line):
            kernel = _kernel(key, body, computations)
            bound = max(kernel.bytes / bandwidth, kernel.operations / rate)
            seconds = np.maximum(LAUNCH_SECONDS, bound)
            total = total.plus(Work(1, kernel.bytes, kernel.operations, seconds))
    return total


def _called(line):
    """Return the computations that a loop, a branch or a call may enter; none for a kernel."""
    if match := re.search(r" (?:while|call)\(.*(?:body|to_apply)=%?([\w.\-]+)", line):
        return [match[1]]
    if " conditional(" not in line:
        return []
    if match := re.search(r"branch_computations=\{([^}]*)\}", line):
        return re.findall(r"[\w.\-]+", match[1])
    return re.findall(r"(?:true|false)_computation=%?([\w.\-]+)", line)


def compiled_block(program: Program, device: jax.Device) -> slabs.Compiled:
    """Return the compiled block of a slab of a program, for a device that may be absent."""
    example = program.block_example(device)
    return compiled(program.descent.block.jitted.lower(*example), device)


def compiled(lowered: Any, device: jax.Device) -> slabs.Compiled:
    """Compile a lowered program for a device without autotuning, which needs the device."""
    options = {"xla_gpu_autotune_level": 0} if device.platform == "gpu" else {}
    return slabs.Compiled(lowered.compile(compiler_options=options))


def loops(program: slabs.Compiled) -> list[Loop]:
    """Return the loops of a compiled program from its text."""
    computations = _computations(program.executable.as_text())
    result = []
    for lines in computations.values():
        for line in lines.values():
            if " while(" in line:
                body = computations[_called(line)[0]]
                kernels = [
                    _kernel(name, body, computations) for name in body if KERNEL.search(body[name])
                ]
                inner = sum(
                    bool(re.search(r" (while|conditional)\(", text)) for text in body.values()
                )
                result.append(Loop(_trip_count(line), kernels, inner))
    return result


def loop_over_steps(program: slabs.Compiled) -> Loop:
    """Return the loop over steps of a compiled block: the innermost one with the most kernels."""
    innermost = (loop for loop in loops(program) if not loop.num_inner)
    return max(innermost, key=lambda loop: len(loop.kernels))


def _trip_count(line):
    """Return the number of iterations of a loop; None if the compiler does not know it."""
    count = re.search(r'known_trip_count":\{"n":"(\d+)"', line)
    return int(count[1]) if count else None


def _computations(text: str) -> Mapping[str, dict[str, str]]:
    """Return the instructions of each computation of a program, by name."""
    result, current = {}, {}
    for line in text.splitlines():
        if match := re.match(r"(?:ENTRY )?%?([\w.\-]+) \(.*\{$", line):
            current = result[match[1]] = {}
        elif match := re.match(r"\s+(?:ROOT )?%?([\w.\-]+) = (.*)", line):
            current[match[1]] = " " + match[2]
    return result


def _size(shape: str) -> int:
    """Return the number of bytes of the arrays in main memory in the text of a shape."""
    return sum(
        math.prod(int(size) for size in filter(None, dims.split(",")))
        * max(1, int(re.sub(r"\D", "", kind) or 8) // 8)
        for kind, dims, layout in SHAPE.findall(shape)
        if "S(" not in layout  # the number of another memory, such as that on a TPU's chip
    )


def _shape(instruction: str) -> str:
    """Return the text of the shape of an instruction's result."""
    return re.split(r" [a-z\-]+\(", instruction, maxsplit=1)[0]


def _operands(instruction: str) -> list[str]:
    inside = re.search(r" [a-z\-]+\(([^)]*)\)", instruction)
    return re.findall(r"%([\w.\-]+)", inside[1]) if inside else []


def _kernel(name, body, computations):
    """Return a kernel with its transfers and the operations of its matrix products."""
    line, called = body[name], re.search(r"calls=%?([\w.\-]+)", body[name])
    inside = computations[called[1]] if called else {name: line}
    # An update of a part of an array, which is an argument of the kernel, is made in place.
    written = {}
    for text in inside.values():
        if " dynamic-update-slice(" in text:
            array, update, *_ = _operands(text)
            if not called or " parameter(" in inside[array]:
                part = _size(_shape(inside.get(update) or body[update]))
                written[array] = _size(_shape(text)) - part
    total = _size(_shape(line)) - sum(written.values())
    for number, operand in enumerate(_operands(line)):
        size = _size(_shape(body.get(operand, "")))
        parameter = next((n for n, text in inside.items() if f" parameter({number})" in text), None)
        users = [t for t in inside.values() if parameter in _operands(t)]
        if users and all(
            re.search(r" (gather|dynamic-slice)\(", t) and _operands(t)[0] == parameter
            for t in users
        ):
            size = min(size, sum(_size(_shape(t)) for t in users))
        total += 0 if (parameter or operand) in written else size
    products = [t for t in inside.values() if PRODUCT.search(t)]
    return Kernel(name, total, sum(_product_operations(t, inside) for t in products))


def _product_operations(line, inside):
    """Return the operations of a matrix product: 2, times its size, times the length of sums."""
    left, right = (_dims(inside[operand]) for operand in _operands(line))
    if labels := re.search(r"dim_labels=\w+?_(\w+)->", line):
        return 2 * math.prod(_dims(line)) * right[labels[1].index("i")]
    summed = re.findall(r"\d+", line.split("lhs_contracting_dims={")[1].split("}")[0])
    return 2 * math.prod(_dims(line)) * math.prod(left[int(axis)] for axis in summed)


def _dims(instruction):
    """Return the dimensions of the first array of an instruction's result."""
    _, dims, _ = SHAPE.findall(_shape(instruction))[0]
    return [int(size) for size in filter(None, dims.split(","))]
