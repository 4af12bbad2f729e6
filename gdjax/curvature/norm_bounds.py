"""Upper bounds on the maximum of a quadratic form over the unit ball of a norm.

    max over |d| <= 1 of d^T H d <= sum_b u_b   for u >= 0 with H <= Diag(u)

The coordinates are divided into groups b with |d_b|_2 <= 1 for all |d| <= 1: single coordinates in
the maximum norm, rows or columns of each matrix in the spectral norm. Every u that satisfies the
matrix inequality gives a bound. A tight bound is obtained from the semidefinite relaxation:
maximize tr(H X) over X >= 0 with tr X_bb <= 1, whose optimum has X = V V^T with few columns. In the
maximum norm, that optimum is at most pi / 2 times the maximum, if H has no negative eigenvalue.

References: Nesterov 1998, *Semidefinite relaxation and nonconvex quadratic optimization*; Wang and
Kolter 2017, *The Mixing method*, arXiv 1706.00476.
"""

import jax
import numpy as np
import scipy.linalg
from jaxtyping import Float, PyTree

SWEEPS = 100  # maximum number of passes over all groups
ROUNDINGS = 64  # number of random roundings of the relaxation that are compared
RTOL = 1e-5  # relative growth of the objective at which passes end


def _largest_eigenvalue(matrix):
    last = len(matrix) - 1
    return float(scipy.linalg.eigvalsh(matrix, subset_by_index=[last, last])[0])


def upper_bound(
    H: Float[np.ndarray, "n n"], norm: str, params: PyTree
) -> tuple[float, Float[np.ndarray, "starts n"]]:
    """Return an upper bound on d^T H d over the unit ball, and starts of a search for d.

    Args:
        H: symmetric matrix.
        norm: name of the norm.
        params: pytree whose arrays are the blocks and matrices of the norms "block" and "spectral".
    """
    size = len(H)
    if norm == "l2":
        values, vectors = scipy.linalg.eigh(H, subset_by_index=[size - 1, size - 1])
        return max(values[0], 0.0), vectors.T
    if norm in ("linf", "spectral"):
        groups = np.arange(size) if norm == "linf" else _matrix_groups(params)
        high, V = _relaxed_bound(H, groups)
        if norm == "spectral":
            return high, V.T
        random = np.random.default_rng(0).normal(size=(V.shape[1], ROUNDINGS))
        return high, np.where(V @ random >= 0, 1.0, -1.0).T
    values, vectors = scipy.linalg.eigh(H)
    positive = (vectors * np.maximum(values, 0.0)) @ vectors.T
    largest = max(values[-1], 0.0)
    if norm == "l1":
        # d^T H d <= d^T H_+ d, which is convex and has its maximum at a corner.
        bounds = [np.abs(H).max(), np.diag(positive).max(), largest]
        return min(bounds), np.eye(size)[[np.argmax(np.diag(H))]]
    sizes = [leaf.size for leaf in jax.tree.leaves(params)]
    ends = np.cumsum(sizes)
    blocks = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    bounds = [_largest_eigenvalue(positive[b, b]) for b in blocks if b.start < b.stop]
    top_eigenvectors = [scipy.linalg.eigh(H[b, b])[1][:, -1] for b in blocks]
    return min(max(bounds), largest), scipy.linalg.block_diag(*top_eigenvectors)


def _matrix_groups(params):
    """Return the group of each coordinate: vectors, and rows or columns of matrices.

    The rows of a matrix are its groups, unless it has fewer columns than rows.
    """
    groups, count = [], 0
    for leaf in jax.tree.leaves(params):
        if leaf.ndim < 2:
            groups.append(np.full(leaf.size, count))
            count += 1
            continue
        rows, columns = leaf.shape[-2:]
        matrices = leaf.size // (rows * columns)
        line = np.indices((matrices, rows, columns))
        number = line[0] * min(rows, columns) + line[1 if rows <= columns else 2]
        groups.append(count + number.ravel())
        count += matrices * min(rows, columns)
    return np.concatenate(groups)


def _relaxed_bound(H, groups):
    """Return an upper bound on the maximum of d^T H d, and the relaxation's factor V.

        d^T H d <= sum_b u_b   if |d_b|_2 <= 1 and H <= Diag(u)

    A vector u >= 0 that does not satisfy the inequality gives two that do: u plus the largest
    eigenvalue of H - Diag(u), and u times the largest eigenvalue of Diag(u)^-1/2 H Diag(u)^-1/2,
    where a negative eigenvalue counts as 0. The smallest bound is returned, including those of a
    constant u and of a u from row sums of |H|.
    """
    V = _relaxation(H, groups)
    ones = np.ones(groups.max() + 1)
    # The optimal u_b is the norm of (H V)_b divided by that of V_b.
    optimal = np.maximum(np.bincount(groups, np.sum(V * (H @ V), axis=1)), 0.0)
    sums = np.sum(np.abs(H), axis=1) - np.abs(np.diag(H)) + np.maximum(np.diag(H), 0.0)
    rows = np.zeros_like(ones)
    np.maximum.at(rows, groups, sums)
    constant = max(_largest_eigenvalue(H), 0.0) * ones
    slack = max(_largest_eigenvalue(H - np.diag(optimal[groups])), 0.0)
    bounds = [float(u @ ones) for u in (rows, constant, optimal + slack)]
    if optimal.max(initial=0.0) > 0:
        positive = np.maximum(optimal, 1e-6 * optimal.max())
        root = 1 / np.sqrt(positive[groups])
        factor = max(_largest_eigenvalue(root[:, None] * H * root), 0.0)
        bounds.append(float(factor * positive @ ones))
    return min(bounds), V


def _relaxation(H, groups):
    """Maximize tr(V^T H V) with |V_b| = 1, by passes over the groups."""
    n = len(H)
    members = [np.flatnonzero(groups == b) for b in range(groups.max() + 1)]
    columns = min(n, int(np.ceil(np.sqrt(2 * len(members)))) + 1)
    V = np.random.default_rng(0).normal(size=(n, columns))

    def unit(part):
        size = np.linalg.norm(part)
        return part * (1 / size) if size > 0 else part

    for rows in members:
        V[rows] = unit(V[rows])
    # With this shift of the diagonal, no pass lowers the objective.
    shift = max(_largest_eigenvalue(-H), 0.0)
    objective = -np.inf
    for _ in range(SWEEPS):
        for rows in members:
            # The optimal direction of a single v_i is that of sum_{j != i} H_ij v_j.
            own = -np.diag(H)[rows] if len(rows) == 1 else shift
            ascent = H[rows] @ V + own * V[rows]
            if np.any(ascent):
                V[rows] = unit(ascent)
        before, objective = objective, float(np.sum(V * (H @ V)))
        if objective - before <= RTOL * abs(objective):
            break
    return V


def change_signs(
    H: Float[np.ndarray, "n n"], direction: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Return the signs of a direction, improved by changes of single signs."""
    d = np.where(direction == 0, 1.0, np.sign(direction))
    if d @ H @ d < direction @ H @ direction:
        return direction
    image = H @ d
    for _ in range(10 * len(d)):
        gain = np.diag(H) - d * image  # a quarter of the gain of d_i -> -d_i
        i = int(np.argmax(gain))
        if gain[i] <= 1e-9 * np.abs(H).max():
            break
        image -= 2 * d[i] * H[i]
        d[i] = -d[i]
    return d
