"""Result of a search for saddles, and its codes."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from gdjax.base.reprs import fields_with
from gdjax.base.status import Status
from gdjax.minima.eigenvector_following import (
    CriticalPoints,
    Landscape,
)
from gdjax.minima.graph_symmetry import (
    Signed,
    SymmetryGroup,
)


class Origin(Status):
    """How a minimum was found first."""

    GIVEN = 0
    ON_A_BAND = 1
    FROM_A_SADDLE = 2


class SearchFailure(Status):
    """Reasons why a search found no saddle of index 1, or a flow no end.

    - NOT_CONVERGED: the iteration reached no critical point, as where the cost falls for ever.
    - DEGENERATE: an eigenvalue of unknown sign remains; the point is counted and not used.
    - INDEX_0, HIGHER_INDEX: a critical point with no, or with several, negative eigenvalues.
    - FLOW_WITHOUT_END: a flow from a saddle did not reach a critical point.
    - NO_MAXIMUM: a band is nowhere higher than at its ends.
    """

    NOT_CONVERGED = 0
    DEGENERATE = 1
    INDEX_0 = 2
    HIGHER_INDEX = 3
    FLOW_WITHOUT_END = 4
    NO_MAXIMUM = 5


class SearchStatus(Status):
    """Status of a search for saddles.

    - COMPLETED: saddles connect all minima, and all planned searches were made.
    - MAX_SEARCHES_REACHED: saddles connect all minima, and planned searches remain.
    - NOT_CONNECTED: no chain of the saddles found connects some of the minima.
    """

    COMPLETED = 0
    MAX_SEARCHES_REACHED = 1
    NOT_CONNECTED = 2


class SaddleSearch(NamedTuple):
    """Minima, saddles and the flows between them, modulo symmetry.

    Args:
        minima: the minima, lowest cost first; the fields have a leading axis.
        minimum_origin: an `Origin` for each minimum.
        minimum_found: how often bands and flows ended in each minimum.
        minimum_search: number of searches made before each minimum was found; 0 for given ones.
        minimum_of: number of the minimum of each given point.
        saddles: the saddles, lowest cost first. Those of higher index are ends of flows.
        saddle_found: how often each saddle was found.
        saddle_search: number of searches made before each saddle was found.
        ends: minimum at which the flow along + and - the unstable direction ends, or -1. If a flow
            ends in a saddle, it is the minimum at the end of the first flow of that saddle.
        end_saddle: saddle in which each flow ends, or -1.
        end_symmetry: symmetry that maps the minimum to the end, for each saddle and direction.
        failures: number of searches and flows by `SearchFailure`.
        num_searches: number of bands and of followed directions.
        status: a `SearchStatus`.
        group: symmetries of the cost.
        num_excluded: number of symmetries of the network that change the cost.
        landscape: the problem in flat coordinates.
    """

    minima: CriticalPoints
    minimum_origin: Int[np.ndarray, " minima"]
    minimum_found: Int[np.ndarray, " minima"]
    minimum_search: Int[np.ndarray, " minima"]
    minimum_of: Int[np.ndarray, " points"]
    saddles: CriticalPoints
    saddle_found: Int[np.ndarray, " saddles"]
    saddle_search: Int[np.ndarray, " saddles"]
    ends: Int[np.ndarray, "saddles 2"]
    end_saddle: Int[np.ndarray, "saddles 2"]
    end_symmetry: list[list[Signed]]
    failures: dict[SearchFailure, int]
    num_searches: int
    status: SearchStatus
    group: SymmetryGroup
    num_excluded: int
    landscape: Landscape

    __repr__, _repr_html_ = fields_with(status=SearchStatus)
