"""What the cost looks like around a point."""

from gdjax.geometry.derivatives import (
    Anatomy,
    Nudges,
    Place,
    anatomy,
    hessian_vector_product,
    largest,
    nudge,
    places,
    value_and_gradient,
)
from gdjax.geometry.fractal import BoxDimension, boundary, box_counts, dimension

__all__ = [
    "Anatomy",
    "BoxDimension",
    "Nudges",
    "Place",
    "anatomy",
    "boundary",
    "box_counts",
    "dimension",
    "hessian_vector_product",
    "largest",
    "nudge",
    "places",
    "value_and_gradient",
]
