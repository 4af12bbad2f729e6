"""What the cost looks like around a point."""

from gdjax.geometry.critical import KINDS, Certificate, classify, kind
from gdjax.geometry.derivatives import (
    Anatomy,
    Nudges,
    Place,
    anatomy,
    largest,
    nudge,
    places,
    value_and_gradient,
)
from gdjax.geometry.directions import (
    Components,
    Projection,
    between,
    gradient_direction,
    layer_normalised,
    named,
    neuron_normalised,
    orthogonalised,
    principal_components,
    project,
    random_direction,
)
from gdjax.geometry.flow import Flow, FlowDistance, distance_from_flow, gradient_flow
from gdjax.geometry.fractal import BoxDimension, boundary, box_counts, dimension
from gdjax.geometry.polishing import Polished, nearest_critical_point, polish
from gdjax.geometry.products import (
    gauss_newton_vector_product,
    hessian,
    hessian_vector_product,
)
from gdjax.geometry.quadrature import Density, Trace, density, trace
from gdjax.geometry.reduction import Reduced, point, reduced
from gdjax.geometry.slices import gradient_norm, grid, line, plane
from gdjax.geometry.spectrum import STATUSES, Eigenpairs, Part, extremes, parts
from gdjax.geometry.stability import sharpness, stability_threshold
from gdjax.geometry.trajectories import of_components, path, trajectory_plane
from gdjax.geometry.views import view

__all__ = [
    "KINDS",
    "STATUSES",
    "Anatomy",
    "BoxDimension",
    "Certificate",
    "Components",
    "Density",
    "Eigenpairs",
    "Flow",
    "FlowDistance",
    "Nudges",
    "Part",
    "Place",
    "Polished",
    "Projection",
    "Reduced",
    "Trace",
    "anatomy",
    "between",
    "boundary",
    "box_counts",
    "classify",
    "density",
    "dimension",
    "distance_from_flow",
    "extremes",
    "gauss_newton_vector_product",
    "gradient_direction",
    "gradient_flow",
    "gradient_norm",
    "grid",
    "hessian",
    "hessian_vector_product",
    "kind",
    "largest",
    "layer_normalised",
    "line",
    "named",
    "nearest_critical_point",
    "neuron_normalised",
    "nudge",
    "of_components",
    "orthogonalised",
    "parts",
    "path",
    "places",
    "plane",
    "point",
    "polish",
    "principal_components",
    "project",
    "random_direction",
    "reduced",
    "sharpness",
    "stability_threshold",
    "trace",
    "trajectory_plane",
    "value_and_gradient",
    "view",
]
