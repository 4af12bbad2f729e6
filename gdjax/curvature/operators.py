"""Curvature operators: Hessian, Gauss-Newton part, preconditioned Hessian.

    H v = d/de grad C(w + e v) at e = 0,   H = J^T L J + sum_i (dl/da_i) grad grad a_i

Here J is the Jacobian of a model's outputs a, and L is the Hessian of the loss l with respect to
those outputs. An operator has `mv`, `shape` and `dtype`. The three operators of a cost are pytrees,
so that they can be arguments of jitted or mapped functions.

A product costs about as much as two gradients, with memory for one microbatch of samples. The cost
is the problem's deterministic cost (see `gdjax.problems.deterministic_cost`) over all its data.
"""

import abc
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from gdjax.base.arguments import check_callable, check_type
from gdjax.base.errors import InputError
from gdjax.curvature.directional_derivatives import along, averaged, with_derivative
from gdjax.problems.checks import at_least_float32, check_like, check_params, require_unweighted
from gdjax.problems.evaluation import restricted
from gdjax.problems.facts import problem_at
from gdjax.problems.optimizers import cost_type
from gdjax.problems.problem import Problem

COLUMNS = 64  # number of columns of a matrix that are computed together
MAX_MATRIX = 4096  # maximum number of parameters for a dense matrix, 64 MiB in float32


class SymmetricOperator(abc.ABC):
    """Symmetric linear operator on pytrees. Subclasses define `like` and `mv`."""

    @property
    @abc.abstractmethod
    def like(self) -> PyTree:
        """Pytree with the structure, shapes and types of the vectors."""

    @abc.abstractmethod
    def mv(self, vector: PyTree) -> PyTree:
        """Return the operator times a vector, a pytree like `like`."""

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        size = optax.tree.size(self.like)
        return size, size

    @property
    def dtype(self) -> jnp.dtype:
        """Type of a flat vector in the order of `jax.flatten_util.ravel_pytree`."""
        return jnp.result_type(*jax.tree.leaves(self.like))

    def flat_mv(self, vector: Float[Array, " n"]) -> Float[Array, " n"]:
        """Return the operator times a flat vector in the order of `ravel_pytree`, in its type."""
        flat, unravel = ravel_pytree(self.like)
        image = ravel_pytree(self.mv(unravel(vector.astype(flat.dtype))))[0]
        return image.astype(vector.dtype)

    def as_matrix(self) -> Float[Array, "n n"]:
        """Return the dense matrix in the order of `ravel_pytree`, for small operators."""
        size, _ = self.shape
        if size > MAX_MATRIX:
            raise InputError(
                f"as_matrix: the operator has {size} rows, expected at most {MAX_MATRIX}; for "
                f"larger operators use `extreme_eigenpairs`, `hessian_trace` and "
                f"`spectral_density`, which need no matrix"
            )
        units = jnp.eye(size, dtype=self.dtype)
        columns = jax.lax.map(self.flat_mv, units, batch_size=COLUMNS)
        return (columns + columns.T) / 2


class FunctionOperator(SymmetricOperator):
    """Linear operator given by a symmetric linear function of pytrees.

    Args:
        function: function `v -> A v` that returns a pytree like `v`.
        like: pytree with the structure, shapes and types of `v`.

    Examples:
        >>> FunctionOperator(lambda v: 2 * v, jnp.ones(2)).as_matrix().tolist()
        [[2.0, 0.0], [0.0, 2.0]]
    """

    def __init__(self, function: Callable[[PyTree], PyTree], like: PyTree):
        check_callable("FunctionOperator: function", function, "a function v -> A v")
        self._function, self._like = function, like

    @property
    def like(self) -> PyTree:
        """Pytree with the structure, shapes and types of the vectors."""
        return self._like

    def mv(self, vector: PyTree) -> PyTree:
        """Return A v."""
        return self._function(vector)


class _CostOperator(SymmetricOperator):
    """Operator of a problem at a point, on all parameters or on those of one layer."""

    def __init__(self, problem: Problem | Callable, params: PyTree, *, layer: str | None = None):
        check_params(params)
        self.problem = problem_at(problem, params)
        self.params, self.layer = params, layer
        names = list(_children(params))
        if layer is not None and layer not in names:
            raise InputError(
                f"{type(self).__name__}: layer = {layer!r}, expected None or one of "
                f"{', '.join(map(repr, names))}"
            )

    def tree_flatten(self):
        return (self.problem, self.params), self.layer

    @classmethod
    def tree_unflatten(cls, layer, children):
        operator = object.__new__(cls)
        operator.problem, operator.params = children
        operator.layer = layer
        return operator

    def __repr__(self) -> str:
        layer = "" if self.layer is None else f" of layer {self.layer!r}"
        return f"<{type(self).__name__}{layer}, {self.shape[0]} parameters, {self.dtype}>"

    @property
    def like(self) -> PyTree:
        """All parameters, or those of the layer."""
        return self.params if self.layer is None else _children(self.params)[self.layer]

    def _with_layer(self, params: PyTree) -> PyTree:
        """Return all parameters, with those of the layer replaced."""
        if self.layer is None:
            return params
        tree = jax.tree.structure(self.params, is_leaf=lambda a: a is not self.params)
        return jax.tree.unflatten(tree, (_children(self.params) | {self.layer: params}).values())

    def layers(self) -> "dict[str, _CostOperator]":
        """Return the diagonal blocks, one for each child of the parameters' root.

        Examples:
            >>> cost = lambda w: w["a"] ** 2 + 3 * w["a"] * w["b"] + 5 * w["b"] ** 2
            >>> operator = HessianOperator(cost, {"a": jnp.array(0.0), "b": jnp.array(0.0)})
            >>> {name: block.as_matrix().item() for name, block in operator.layers().items()}
            {'a': 2.0, 'b': 10.0}
        """
        return {n: type(self)(self.problem, self.params, layer=n) for n in _children(self.params)}


@jax.tree_util.register_pytree_node_class
class HessianOperator(_CostOperator):
    """The Hessian of the cost at a point.

        H v = d/de grad C(w + e v) at e = 0

    Products are exact, by forward-over-reverse differentiation, or by reverse-over-reverse
    differentiation if a part of the cost does not support forward mode (a custom_vjp).

    Args:
        problem: a Problem, or a cost `cost(params)` without data.
        params: parameters w at which to take the Hessian.
        layer: name of a child of the parameters' root, as in `layers()`; the other parameters are
            constant. None for all parameters.

    Examples:
        >>> saddle = lambda w: w[0] ** 2 - w[1] ** 2
        >>> operator = HessianOperator(saddle, jnp.zeros(2))
        >>> operator.mv(jnp.array([1.0, 1.0])).tolist(), operator.shape
        ([2.0, -2.0], (2, 2))
        >>> operator.as_matrix().tolist()
        [[2.0, 0.0], [0.0, -2.0]]

        An operator can be an argument of a jitted function:

        >>> from gdjax.problems import as_problem
        >>> mean = as_problem(lambda w, x: jnp.mean((w * x) ** 2), data=jnp.arange(3.0))
        >>> operator = HessianOperator(mean, jnp.zeros(1))
        >>> jax.jit(lambda operator: operator.as_matrix())(operator).round(3).tolist()
        [[3.333]]

    References: Pearlmutter 1994, *Fast exact multiplication by the Hessian*.
    """

    def mv(self, vector: PyTree) -> PyTree:
        """Return H v, a pytree like v."""
        params = self.like
        check_like("HessianOperator.mv: vector", vector, params)
        problem = self.problem if self.layer is None else restricted(self.problem, self._with_layer)

        def product_of(cost):
            return lambda point, batch: along(lambda w: jax.grad(cost)(w, batch), *point)

        return averaged(problem, product_of, (params, _tangent(vector, params)))


@jax.tree_util.register_pytree_node_class
class GaussNewtonOperator(_CostOperator):
    """The Gauss-Newton part of the Hessian at a point.

        G v = J^T L J v,   J = d predict / dw,   L = Hessian of the loss w.r.t. the outputs

    G omits the curvature of the outputs. It has no negative eigenvalues if the loss is convex in
    the outputs, and equals H if each sample's loss has zero gradient with respect to its outputs,
    as the squared error has at an exact fit.

    Args:
        problem: problem with data `(inputs, targets)`, `predict(params, inputs) -> outputs`, and
            the mean loss over samples, `loss(outputs, targets) -> scalar`.
        params: parameters w at which to take the operator.
        layer: name of a layer or None, as for `HessianOperator`.

    Examples:
        >>> line = Problem(
        ...     init=lambda key: jnp.zeros(()),
        ...     cost=lambda w, xy: jnp.mean((w * xy[0] - xy[1]) ** 2),
        ...     data=(jnp.array([1.0, 2.0]), jnp.zeros(2)),
        ...     predict=lambda w, x: w * x,
        ...     loss=lambda a, y: jnp.mean((a - y) ** 2),
        ... )
        >>> float(GaussNewtonOperator(line, jnp.array(3.0)).mv(1.0))
        5.0

    References: Schraudolph 2002, *Fast curvature matrix-vector products*.
    """

    def mv(self, vector: PyTree) -> PyTree:
        """Return G v, a pytree like v."""
        params, predict, loss = self.like, self.problem.predict, self.problem.loss
        is_pair = isinstance(self.problem.data, tuple) and len(self.problem.data) == 2
        if predict is None or loss is None or not is_pair:
            raise InputError(
                "GaussNewtonOperator: the problem has no predict, no loss or no data (inputs, "
                "targets); give gd.Problem(..., predict=..., loss=..., data=(inputs, targets))"
            )
        require_unweighted("GaussNewtonOperator", self.problem)
        check_like("GaussNewtonOperator.mv: vector", vector, params)

        def product_of(_cost):
            def product(point, batch):
                w, v = point
                inputs, targets = batch

                def outputs_of(w):
                    return predict(self._with_layer(w), inputs)

                outputs, tangent = with_derivative(outputs_of, w, v)
                cotangent = along(jax.grad(lambda a: loss(a, targets)), outputs, tangent)
                return jax.vjp(outputs_of, w)[1](cotangent)[0]

            return product

        return averaged(self.problem, product_of, (params, _tangent(vector, params)))


@jax.tree_util.register_pytree_node_class
class PreconditionedHessian(SymmetricOperator):
    """The preconditioned Hessian P^-1/2 H P^-1/2 with diagonal P.

    It has the eigenvalues of P^-1 H, which limit the steps of an optimizer that divides them by P.

    Args:
        problem: a Problem or a cost, as for `HessianOperator`.
        params: parameters w at which to take the Hessian.
        preconditioner: diagonal P, a pytree like `params` with entries above 0, such as
            `preconditioner(make_optimizer)(opt_state)`.

    Examples:
        If P contains the curvatures of a quadratic cost, the operator is the identity:

        >>> bowl = lambda w: w[0] ** 2 + 50 * w[1] ** 2
        >>> PreconditionedHessian(bowl, jnp.ones(2), jnp.array([2.0, 100.0])).as_matrix().round(3)
        Array([[1., 0.],
               [0., 1.]], dtype=float32)

    References: Cohen et al. 2022, *Adaptive Gradient Methods at the Edge of Stability*,
    arXiv 2207.14484.
    """

    def __init__(self, problem: Problem | Callable, params: PyTree, preconditioner: PyTree):
        check_like("PreconditionedHessian: preconditioner", preconditioner, params)
        self.hessian = HessianOperator(problem, params)
        P = ravel_pytree(preconditioner)[0].astype(cost_type(params))
        self.inverse_root = jax.lax.rsqrt(P)

    def tree_flatten(self):
        return (self.hessian, self.inverse_root), None

    @classmethod
    def tree_unflatten(cls, _, children):
        operator = object.__new__(cls)
        operator.hessian, operator.inverse_root = children
        return operator

    @property
    def like(self) -> PyTree:
        """The parameters."""
        return self.hessian.like

    def mv(self, vector: PyTree) -> PyTree:
        """Return P^-1/2 H P^-1/2 v, a pytree like v."""
        check_like("PreconditionedHessian.mv: vector", vector, self.like)
        flat, unravel = ravel_pytree(self.like)
        return unravel(self.flat_mv(ravel_pytree(vector)[0].astype(flat.dtype)))

    def flat_mv(self, vector: Float[Array, " n"]) -> Float[Array, " n"]:
        """Return P^-1/2 H P^-1/2 v for a vector v in the order of `ravel_pytree`."""
        scale = self.inverse_root
        return (scale * self.hessian.flat_mv(scale * vector)).astype(vector.dtype)


def as_operator(
    name: str, make_operator: Callable, problem: Problem | Callable, params: PyTree
) -> SymmetricOperator:
    """Return an operator of a problem at a point, in at least single precision."""
    check_callable(f"{name}: operator", make_operator, "a class, such as HessianOperator")
    operator = make_operator(problem, at_least_float32(params))
    check_type(
        f"{name}: operator", operator, SymmetricOperator, "a function that returns an operator"
    )
    return operator


def _children(params):
    """Return the children of the root of a pytree by name: layers, for a network."""
    children, _ = jax.tree.flatten_with_path(params, is_leaf=lambda a: a is not params)
    names = [jax.tree_util.keystr(path, simple=True) or "all" for path, _ in children]
    return dict(zip(names, (child for _, child in children), strict=True))


def _tangent(vector, params):
    return jax.tree.map(lambda v, w: jnp.asarray(v, jnp.result_type(w)), vector, params)
