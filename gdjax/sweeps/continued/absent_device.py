"""Programs of a sweep, compiled for a device that is absent.

    gd.sweep(problem, axes, ...)  ->  kernels of a step, loops, bytes   on an H100, for example

JAX compiles for devices of which it knows only the properties. The compiled text shows how many
kernels a step launches, which loops have a known number of iterations, and how much memory a slab
needs. It shows no times. CUDA devices need the packages `jax-cuda13-plugin` and `jax-cuda13-pjrt`
at the version of JAX, but no driver; a TPU needs `libtpu`. The text for a TPU gives no number of
iterations, since its loops need no host.
"""

import dataclasses
import math
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

from gdjax.base import slabs
from gdjax.base.arguments import check_choice
from gdjax.base.errors import InputError
from gdjax.sweeps.program import programs_of
from gdjax.sweeps.spec import Sweep

# XLA's properties of CUDA devices, from the vendor's data sheets: multiprocessors, clock in GHz,
# memory in bytes, its bandwidth in bytes per second, second-level cache, shared memory of a block
# and of a multiprocessor, float32 units of a multiprocessor, and compute capability.
CUDA_DEVICES = {
    "a100": (108, 1.41, 85_899_345_920, 2_039_000_000_000, 41_943_040, 166_912, 167_936, 64, 8),
    "h100": (132, 1.98, 84_942_979_072, 3_352_320_000_000, 52_428_800, 232_448, 233_472, 128, 9),
}
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


def compile_block(sweep: Sweep, width: int, device: jax.Device) -> slabs.Compiled:
    """Return the compiled block of a slab of runs, without autotuning.

    Args:
        sweep: sweep with a single program.
        width: number of runs of the slab.
        device: device, which may be absent.

    Examples:
        >>> import gdjax as gd
        >>> bowl, axes = gd.problems.bowl([1.0, 10.0]), gd.axes(learning_rate=[0.1], seed=range(4))
        >>> cpu = jax.devices("cpu")[0]
        >>> block = gd.sweeps.compile_block(gd.Sweep(bowl, axes, 20), 4, cpu)
        >>> block.nbytes > 0, len(gd.sweeps.loop_over_steps(block).kernels) > 0
        (True, True)
    """
    (program,) = programs_of(sweep, [device])
    program = dataclasses.replace(program, width=width)
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
            if match := re.search(r" while\(.*body=%?([\w.\-]+)", line):
                count = re.search(r'known_trip_count":\{"n":"(\d+)"', line)
                body = computations[match[1]]
                kernels = [
                    _kernel(name, body, computations) for name in body if KERNEL.search(body[name])
                ]
                inner = sum(
                    bool(re.search(r" (while|conditional)\(", text)) for text in body.values()
                )
                result.append(Loop(int(count[1]) if count else None, kernels, inner))
    return result


def loop_over_steps(program: slabs.Compiled) -> Loop:
    """Return the loop over steps of a compiled block: the innermost one with the most kernels."""
    innermost = (loop for loop in loops(program) if not loop.num_inner)
    return max(innermost, key=lambda loop: len(loop.kernels))


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
    total = _size(_shape(line))
    for number, operand in enumerate(_operands(line)):
        size = _size(_shape(body.get(operand, "")))
        parameter = next((n for n, text in inside.items() if f" parameter({number})" in text), None)
        users = [t for t in inside.values() if parameter in _operands(t)]
        if users and all(
            re.search(r" (gather|dynamic-slice)\(", t) and _operands(t)[0] == parameter
            for t in users
        ):
            size = min(size, sum(_size(_shape(t)) for t in users))
        total += size
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
