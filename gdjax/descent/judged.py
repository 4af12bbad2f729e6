"""Which samples a network gets right, as measures to watch along a descent.

    right_i = [argmax_k f(x_i; w)_k = label_i],   accuracy of a class = mean of right_i over it

The simplest instance answers "0" whatever it is shown, and is right where that is the label:

>>> always = Problem(
...     init=lambda key: jnp.zeros(()),
...     cost=lambda w, batch: w**2,
...     data=(jnp.zeros((4, 1)), jnp.array([0, 1, 0, 1])),
...     predict=lambda w, inputs: jnp.eye(2)[jnp.zeros(len(inputs), int)],
... )
>>> class_accuracy(always).function(jnp.zeros(()), always.data).tolist()
[1.0, 0.0]
>>> bits = right_samples(always).function(jnp.zeros(()), always.data)
>>> unpacked(bits, 4).tolist()
[True, False, True, False]
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num, PyTree, UInt8

from gdjax.errors import InputError
from gdjax.problems.problem import Measure, Problem, declared, given_to

PLACE = inspect.Parameter.POSITIONAL_OR_KEYWORD
KEYWORD = inspect.Parameter.KEYWORD_ONLY


def class_accuracy(problem: Problem, *, data: PyTree = None, every: int = 1) -> Measure:
    """Share of each class's samples whose largest output is at their label.

        accuracy_k = sum_i [label_i = k] right_i / sum_i [label_i = k]

    Args:
        problem: with a `predict`, one output a class.
        data: `(inputs, labels)`; None takes the samples of its `test_accuracy`, or else its own.
        every: records from one measurement to the next.

    Returns:
        A measure that is an array with the dimension `class`; NaN for a class without samples.

    Raises:
        InputError: a problem without `predict`, or data that are no inputs with labels.
    """
    return Measure(
        _OfOutputs(_by_class, _predict("class_accuracy", problem)),
        data=_labelled("class_accuracy", problem, data),
        every=every,
        long_name="accuracy of each class",
        dims=("class",),
    )


def right_samples(problem: Problem, *, data: PyTree = None, every: int = 1) -> Measure:
    """Which samples have their largest output at their label, eight to a byte.

        bit i of the array = right_i,   the first sample in the highest bit of the first byte

    10,000 test images take 1,250 bytes a record; `unpacked` makes truth values of them. In a sweep
    called `right`, say, `right_known` is False where a run has diverged or is not finished.

    Args:
        problem: as for `class_accuracy`.
        data: as for `class_accuracy`.
        every: records from one measurement to the next.

    Returns:
        A measure that is an array of uint8 with the dimension `byte`.

    Raises:
        InputError: as for `class_accuracy`.

    Source: Toneva et al. 2019, arXiv 1812.05159, who count how often a sample is forgotten.
    """
    return Measure(
        _OfOutputs(_packed, _predict("right_samples", problem)),
        data=_labelled("right_samples", problem, data),
        every=every,
        long_name="which samples are right, as bits",
        dims=("byte",),
        dtype=np.uint8,
    )


def unpacked(bits: Any, samples: int) -> Bool[np.ndarray, "*records samples"]:
    """Truth values of samples from what `right_samples` recorded.

    Args:
        bits: an array whose last axis has eight samples a byte; others may stand in front of it.
        samples: how many there are.

    Raises:
        InputError: there are fewer bits than samples, or whole bytes more.
    """
    bits = np.asarray(bits, np.uint8)
    if bits.ndim == 0 or bits.shape[-1] != -(-samples // 8):
        raise InputError(
            f"unpacked: samples = {samples}, and bits have the shape {bits.shape}; expected "
            f"{-(-samples // 8)} bytes in the last axis"
        )
    return np.unpackbits(bits, axis=-1, count=samples).astype(bool)


def _right(outputs: Float[Array, "samples classes"], labels: Num[Array, " samples"]):
    return jnp.argmax(outputs, axis=-1) == labels


def _by_class(outputs, labels):
    of_class = jax.nn.one_hot(labels, outputs.shape[-1], dtype=jnp.float32)
    right = _right(outputs, labels).astype(jnp.float32)
    return jnp.matmul(right, of_class, precision="highest") / jnp.sum(of_class, axis=0)


def _packed(outputs, labels) -> UInt8[Array, " bytes"]:
    return jnp.packbits(_right(outputs, labels))


def _predict(name, problem):
    if not isinstance(problem, Problem) or problem.predict is None:
        raise InputError(
            f"{name}: the problem has no `predict`; give one that has, such as "
            f"gd.problems.supervised(...)"
        )
    return problem.predict


def _labelled(name: str, problem: Problem, data: PyTree) -> tuple[Any, Any]:
    if data is None:
        test = problem.measures.get("test_accuracy")
        data = problem.data if test is None else test.data
    pair = isinstance(data, tuple | list) and len(data) == 2
    labels = data[1] if pair else None
    if not hasattr(labels, "dtype") or labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise InputError(
            f"{name}: expected data (inputs, labels), labels one whole number a sample; give "
            f"data=..."
        )
    return tuple(data)


@dataclass(frozen=True)
class _OfOutputs:
    """`quantity(outputs, labels)` as a measure that declares the keywords of a `predict`."""

    quantity: Callable
    predict: Callable

    def __call__(self, params, data, **given):
        inputs, labels = data
        return self.quantity(self.predict(params, inputs, **given), jnp.asarray(labels))

    @property
    def __signature__(self):
        defaults = {**dict.fromkeys(given_to(self.predict)), **declared(self.predict)}
        places = [inspect.Parameter(name, PLACE) for name in ("params", "data")]
        keywords = [inspect.Parameter(n, KEYWORD, default=d) for n, d in defaults.items()]
        return inspect.Signature([*places, *keywords])
