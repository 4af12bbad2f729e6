"""Supervised learning of a model that is given by `init` and `apply`.

    C(w) = mean_i loss(apply(w, x_i), y_i)

A straight line is the simplest model:

>>> import jax.numpy as jnp
>>> x = jnp.arange(4.0)[:, None]
>>> line = supervised(
...     init=lambda key: {"slope": jnp.zeros(()), "offset": jnp.ones(())},
...     apply=lambda p, x: p["slope"] * x + p["offset"],
...     loss=lambda outputs, targets: (outputs - targets) ** 2,
...     data=(x, 2 * x),
... )
>>> float(line.cost(line.init(None), line.data))
9.0

A model that behaves differently in training (dropout, batch statistics) declares keywords. With
`apply(params, x, *, train, key, model_state)`, the cost uses `train=True`, and the evaluation in
records uses `train=False`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from gdjax.base.arguments import check_callable
from gdjax.base.errors import InputError
from gdjax.problems.keywords import declare, declared, given_to
from gdjax.problems.losses import accuracy
from gdjax.problems.metrics import Metric
from gdjax.problems.problem import Problem


def supervised(
    init: Callable[..., PyTree],
    apply: Callable[..., Any],
    loss: Callable[[Array, Array], Array],
    data: PyTree,
    *,
    test: PyTree = None,
    couples_samples: bool = False,
) -> Problem:
    """Return the problem of a model, with metrics on test data.

    Args:
        init: function `init(key, **settings) -> params`, or `-> (params, model_state)` if `apply`
            declares `model_state`.
        apply: function `apply(params, inputs, **settings) -> outputs`. It may declare four
            keyword-only arguments: `train`, True in the cost and False in the evaluation; `key`,
            a random key that differs between steps, and between runs with different `seed` or
            `noise_seed`, and is constant in the evaluation; `step`, the number of the step;
            `model_state`, such as running statistics, in which case it
            returns `(outputs, model_state)`. Its other keywords with defaults can be swept.
        loss: function `loss(outputs, targets)` that returns one number per sample or their mean.
        data: pair `(inputs, targets)` with a common leading sample axis; inputs are any pytree.
        test: pair of held-out data, recorded as the metric `test_cost`, and as `test_accuracy` if
            targets are labels and outputs have one number per class; None for no metrics.
        couples_samples: whether the outputs of a sample in training depend on the other samples of
            its batch (batch statistics). A batch is then never split into microbatches.

    Examples:
        Dropout is on in the cost and off in the evaluation:

        >>> def apply(w, x, *, train, key):
        ...     return x * w * (2 * jax.random.bernoulli(key, 0.5, x.shape) if train else 1)
        >>> dropped = supervised(
        ...     init=lambda key: jnp.ones(()),
        ...     apply=apply,
        ...     loss=lambda outputs, targets: (outputs - targets) ** 2,
        ...     data=(jnp.ones(8), jnp.ones(8)),
        ... )
        >>> float(dropped.evaluation(jnp.ones(()), dropped.data))
        0.0
        >>> float(dropped.cost(jnp.ones(()), dropped.data, key=jax.random.key(0)))
        1.0
    """
    for name, function in (("init", init), ("apply", apply), ("loss", loss)):
        check_callable(f"supervised: {name}", function)
    for name, pair in (("data", data), ("test", test)):
        if name == "data" or pair is not None:
            check_pair(f"supervised: {name}", pair)
    settings, extra = declared(apply), given_to(apply)
    trained = "train" in settings
    settings.pop("train", None)
    stateful = "model_state" in extra

    def outputs(params, inputs, train, keywords):
        """Return the outputs of the model and its next state."""
        if trained:
            keywords = {**keywords, "train": train}
        if not train and "key" in extra:
            keywords = {**keywords, "key": jax.random.key(0)}
        returned = apply(params, inputs, **keywords)
        return returned if stateful else (returned, None)

    def mean_loss(outputs, targets):
        return jnp.mean(loss(outputs, jax.tree.map(jnp.asarray, targets)))

    def cost(params, batch, **keywords):
        predictions, model_state = outputs(params, batch[0], True, keywords)
        value = mean_loss(predictions, batch[1])
        return (value, model_state) if stateful else value

    def predict(params, inputs, **keywords):
        return outputs(params, inputs, False, keywords)[0]

    def evaluation(params, batch, **keywords):
        return mean_loss(predict(params, batch[0], **keywords), batch[1])

    frozen = tuple(name for name in extra if name != "key")
    declare(cost, ("params", "batch"), extra, settings)
    declare(predict, ("params", "inputs"), frozen, settings)
    declare(evaluation, ("params", "batch"), frozen, settings)
    metrics = {}
    if test is not None:
        metrics["test_cost"] = Metric(_test_cost, data=tuple(test), long_name="test cost")
        if _classifies(init, predict, stateful, test):
            metrics["test_accuracy"] = Metric(
                _accuracy, data=tuple(test), long_name="test accuracy"
            )
    return Problem(
        init=init,
        cost=cost,
        data=tuple(data),
        evaluation=evaluation if trained or (stateful and "key" not in extra) else None,
        couples_samples=couples_samples,
        metrics=metrics,
        predict=predict,
        loss=mean_loss,
    )


def _test_cost(problem, params):
    return problem.loss(problem.predict(params, problem.data[0]), problem.data[1])


def _accuracy(problem, params):
    inputs, labels = problem.data
    return accuracy(problem.predict(params, inputs), jnp.asarray(labels))


def _classifies(init, predict, stateful, test):
    """Return whether targets are labels and each output has one number per class."""
    inputs, labels = test
    if not hasattr(labels, "dtype") or not np.issubdtype(labels.dtype, np.integer):
        return False

    def start(key, inputs):
        made = init(key)
        params, model_state = made if stateful else (made, None)
        supplied = {"model_state": model_state, "step": 0}
        return predict(params, inputs, **{name: supplied[name] for name in given_to(predict)})

    outputs = jax.eval_shape(start, jax.random.key(0), inputs)
    shape = tuple(getattr(outputs, "shape", ()))
    return len(shape) == labels.ndim + 1 and shape[:-1] == labels.shape and shape[-1] > 1


def check_pair(name: str, pair: Any) -> None:
    """Check that an argument is a pair."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise InputError(
            f"{name} is of type {type(pair).__name__}, expected the pair (inputs, targets)"
        )
