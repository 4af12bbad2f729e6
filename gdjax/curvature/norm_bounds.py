"""Upper bounds on the maximum of a quadratic form over the unit ball of a norm.

    max over |d| <= 1 of d^T H d <= sum_b u_b r_b   for u >= 0 with H <= Diag(u)

The coordinates are divided into groups b with |d_b|_2^2 <= r_b for all |d| <= 1: single coordinates
in the maximum norm, rows or columns of each matrix in the spectral norm, both with r = 1. Every u
that satisfies the matrix inequality gives a bound. A tight bound is obtained from the semidefinite
relaxation: maximize tr(H X) over X >= 0 with tr X_bb <= r_b, whose optimum has X = V V^T with few
columns. In the maximum norm, that optimum is at most pi / 2 times the maximum, if H has no negative
eigenvalue.

References: Nesterov 1998, *Semidefinite relaxation and nonconvex quadratic optimization*; Wang and
Kolter 2017, *The Mixing method*, arXiv 1706.00476.
"""

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int

SWEEPS = 100  # maximum number of passes over all groups
RTOL = 1e-5  # relative growth of the objective at which passes end


def largest_eigenvalue(matrix: Float[np.ndarray, "n n"]) -> float:
    """Return the largest eigenvalue of a symmetric matrix."""
    last = len(matrix) - 1
    return float(scipy.linalg.eigvalsh(matrix, subset_by_index=[last, last])[0])


def upper_bound(
    H: Float[np.ndarray, "n n"], groups: Int[np.ndarray, " n"], radii: Float[np.ndarray, " groups"]
) -> tuple[float, Float[np.ndarray, "n columns"]]:
    """Return an upper bound on the maximum of d^T H d, and the relaxation's factor V.

        d^T H d <= sum_b u_b r_b   if |d_b|_2^2 <= r_b and H <= Diag(u)

    A vector u >= 0 that does not satisfy the inequality gives two that do: u plus the largest
    eigenvalue of H - Diag(u), and u times the largest eigenvalue of Diag(u)^-1/2 H Diag(u)^-1/2,
    where a negative eigenvalue counts as 0. The smallest bound is returned, including those of a
    constant u and of a u from row sums of |H|.

    Args:
        H: symmetric matrix.
        groups: number of the group of each coordinate, from 0.
        radii: largest |d_b|_2^2 of each group.

    Examples:
        For a diagonal H, the bound is the trace, which is attained:

        >>> H = np.diag([1.0, 2.0, 3.0])
        >>> round(upper_bound(H, np.arange(3), np.ones(3))[0], 6)
        6.0
    """
    V = _relaxation(H, groups, radii)
    # The optimal u_b is the norm of (H V)_b divided by that of V_b.
    products = np.bincount(groups, np.sum(V * (H @ V), axis=1), len(radii))
    optimal = np.maximum(products, 0.0) / radii
    sums = np.sum(np.abs(H), axis=1) - np.abs(np.diag(H)) + np.maximum(np.diag(H), 0.0)
    rows = np.zeros(len(radii))
    np.maximum.at(rows, groups, sums)
    constant = np.full(len(radii), max(largest_eigenvalue(H), 0.0))
    bounds = [float(rows @ radii), float(constant @ radii)]
    slack = max(largest_eigenvalue(H - np.diag(optimal[groups])), 0.0)
    bounds.append(float((optimal + slack) @ radii))
    if optimal.max(initial=0.0) > 0:
        positive = np.maximum(optimal, 1e-6 * optimal.max())
        root = 1 / np.sqrt(positive[groups])
        factor = max(largest_eigenvalue(root[:, None] * H * root), 0.0)
        bounds.append(float(factor * positive @ radii))
    return min(bounds), V


def _relaxation(H, groups, radii):
    """Maximize tr(V^T H V) with |V_b|^2 = r_b, by passes over the groups."""
    n = len(H)
    columns = min(n, int(np.ceil(np.sqrt(2 * len(radii)))) + 1)
    members = [np.flatnonzero(groups == b) for b in range(len(radii))]
    V = np.random.default_rng(0).normal(size=(n, columns))

    def scaled(part, radius):
        size = np.linalg.norm(part)
        return part * (np.sqrt(radius) / size) if size > 0 else part

    for b, rows in enumerate(members):
        V[rows] = scaled(V[rows], radii[b])
    # With this shift of the diagonal, no pass lowers the objective.
    shift = max(largest_eigenvalue(-H), 0.0)
    objective = -np.inf
    for _ in range(SWEEPS):
        for b, rows in enumerate(members):
            ascent = H[rows] @ V + shift * V[rows] if len(rows) > 1 else _others(H, V, rows[0])
            if np.any(ascent):
                V[rows] = scaled(ascent, radii[b])
        before, objective = objective, float(np.sum(V * (H @ V)))
        if objective - before <= RTOL * abs(objective):
            break
    return V


def _others(H, V, i):
    """Return sum_{j != i} H_ij v_j, whose direction is that of the optimal v_i."""
    return (H[i] @ V - H[i, i] * V[i])[None]
