"""`gdjax spectrum`: curvature at a point, and the kind of critical point."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro
from msgspec import Meta

from gdjax.base import process, results
from gdjax.base.limits import MAX_WHOLE, Count, Positive, Seed, Whole
from gdjax.cli.emit import emit, table
from gdjax.cli.point import Origin

SHARE = 6  # number of trace probes for each density probe


class SpectrumResults(NamedTuple):
    """Eigenpairs of the Hessian and of its blocks, trace, density and classification."""

    size: int
    extremes: Any
    parts: dict[str, Any]
    trace: Any
    density: Any
    classification: Any


@dataclass(frozen=True)
class Spectrum:
    """Compute eigenvalues, trace and spectral density of the Hessian at a network."""

    origin: tyro.conf.OmitArgPrefixes[Origin] = field(default_factory=Origin)
    largest: Count = 10
    """Number of largest eigenvalues, of the whole Hessian and of the diagonal block of each
    layer."""
    smallest: Whole = 3
    """Number of smallest eigenvalues of the whole Hessian."""
    tolerance: Positive = 1e-3
    """Tolerance for the residuals |H v - eigenvalue v|, relative to the largest |eigenvalue|."""
    gradient_tolerance: Positive = 1e-5
    """Largest norm of the gradient at which the point counts as stationary."""
    probes: Annotated[int, Meta(ge=2 * SHARE, le=MAX_WHOLE)] = 48
    """Number of random vectors for the trace. The spectral density uses a sixth of this number,
    with 64 Hessian-vector products each."""
    probe_seed: Seed = 0
    """Seed of the random vectors."""
    out: Path | None = None
    """Folder for results; by default results/spectrum/<hash of these settings>."""

    def run(self) -> None:
        """Compute the eigenvalues, write data, summary and figures, and print tables."""
        self.origin.check()
        process.configure()
        point = self.origin.find()
        folder = results.folder("spectrum", self, self.out)
        spectrum = self._find(point)
        summary = build_summary(point, spectrum)
        emit(
            "spectrum",
            self,
            folder,
            data={"spectrum": dataset(spectrum).assign_attrs(point=point.label)},
            summary=summary,
            draw=lambda: figures(point, spectrum, summary, self.largest),
            report=report(point.label, summary),
            next_command=("landscape", *self.origin.flags()),
        )

    def _find(self, point: Any) -> SpectrumResults:
        import jax
        import numpy as np
        import optax

        from gdjax import curvature
        from gdjax.curvature.eigenpairs import DENSE

        problem, params = point.problem, point.params
        key = jax.random.key(self.probe_seed)
        key_ends, key_trace, key_density, key_kind = jax.random.split(key, 4)

        def at(function, key, size, **options):
            program = partial(function, **options)
            if size <= DENSE or function is curvature.hessian_trace:
                program = jax.jit(program)  # without jit, a progress bar is shown
            return jax.tree.map(np.asarray, program(problem, params, key=key))

        def compute_extremes(size, smallest, layer=None):
            largest = min(self.largest, size)
            return at(
                curvature.extreme_eigenpairs, key_ends, size, largest=largest,
                smallest=min(smallest, size - largest), rtol=self.tolerance,
                operator=partial(curvature.HessianOperator, layer=layer),
            )  # fmt: skip

        size = optax.tree.size(params)
        parts = curvature.HessianOperator(problem, params).layers()
        classification = curvature.classify(
            problem, params, key=key_kind, gradient_tolerance=self.gradient_tolerance
        )
        if len(parts) == 1:
            parts = {}
        elif problem.network is not None:
            parts = {f"layer {number}": part for number, part in enumerate(parts.values(), 1)}
        return SpectrumResults(
            size=size,
            extremes=compute_extremes(size, self.smallest),
            parts={
                name: compute_extremes(part.shape[0], 0, part.layer) for name, part in parts.items()
            },
            trace=at(curvature.hessian_trace, key_trace, size, probes=self.probes),
            density=at(curvature.spectral_density, key_density, size, probes=self.probes // SHARE),
            classification=jax.tree.map(np.asarray, classification),
        )


def figures(
    point: Any, spectrum: SpectrumResults, summary: dict[str, Any], largest: int
) -> dict[str, Any]:
    """Draw the spectral density, and the eigenvalues by rank, if they are finite."""
    if summary["status"] == "not finite":
        return {}
    from gdjax.plots import spectrum as plots

    # The smallest eigenvalues come last and have no rank from the largest.
    ranked = {
        name: (pairs.values[:largest], pairs.residuals[:largest])
        for name, pairs in {"whole": spectrum.extremes, **spectrum.parts}.items()
    }
    return {
        "density": plots.densities(
            {point.label: spectrum.density},
            pairs={point.label: spectrum.extremes},
            size=spectrum.size,
        ),
        "ranks": plots.eigenvalues_by_rank(
            {point.label: ranked},
            limit=summary["stability_threshold"],
            limit_label="stability limit" if point.momentum else "2 / learning rate",
        ),
    }


def build_summary(point: Any, spectrum: SpectrumResults) -> dict[str, Any]:
    """Return the content of summary.json."""
    import optax

    from gdjax import curvature
    from gdjax.curvature.critical_points.classify import DENSE
    from gdjax.curvature.eigenpairs import EigenpairsStatus

    extremes, classification = spectrum.extremes, spectrum.classification
    threshold = None
    if point.learning_rate is not None:
        optimizer = partial(optax.sgd, momentum=point.momentum)
        threshold = float(curvature.stability_threshold(point.learning_rate, optimizer))
    return {
        "point": point.label,
        "problem": point.problem.provenance,
        "parameters": spectrum.size,
        "eigenvalues": extremes.values,
        "residuals": extremes.residuals,
        "status": EigenpairsStatus(int(extremes.status)).label,
        "products": int(extremes.num_hvps),
        "trace": float(spectrum.trace.value),
        "trace_standard_error": float(spectrum.trace.error),
        "parts": {
            name: {
                "largest": float(pairs.values[0]),
                "residual": float(pairs.residuals[0]),
                "status": EigenpairsStatus(int(pairs.status)).label,
            }
            for name, pairs in spectrum.parts.items()
        },
        "stability_threshold": threshold,
        "share_of_threshold": threshold and float(extremes.values[0]) / threshold,
        "classification": {
            **{k: v for k, v in classification._asdict().items() if k != "newton_point"},
            "kind": classification.kind_name,
        },
        "advice": classification.advice,
        "nullity_is": "exactly" if spectrum.size <= DENSE else "at least",
    }


def report(label: str, summary: dict[str, Any]) -> list[str]:
    """Return the printed table and sentences."""
    c = summary["classification"]
    lines = [
        f"{label}: {summary['parameters']:,} parameters",
        table(
            {
                "eigenvalue": [f"{value:.5g}" for value in summary["eigenvalues"]],
                "residual": [f"{value:.2g}" for value in summary["residuals"]],
            }
        ),
        f"{summary['status']}, {summary['products']} products with the Hessian",
        f"trace {summary['trace']:.5g} ± {summary['trace_standard_error']:.2g} (standard error)",
    ]
    for name, part in summary["parts"].items():
        words = "" if part["status"] == "converged" else f", {part['status']}"
        lines.append(
            f"{name} alone: largest {part['largest']:.5g}, residual {part['residual']:.2g}{words}"
        )
    if summary["stability_threshold"] is not None:
        lines.append(
            f"stability limit for its learning rate: {summary['stability_threshold']:.4g}; the "
            f"largest eigenvalue is {summary['share_of_threshold']:.3g} times this limit"
        )
    return [
        *lines,
        f"{c['kind']}: gradient {c['gradient_norm']:.3g} (tolerance {c['gradient_tolerance']:.2g})",
        f"eigenvalues {c['smallest']:.4g} ± {c['smallest_residual']:.1g} to "
        f"{c['largest']:.4g} ± {c['largest_residual']:.1g}, within {c['resolution']:.2g} "
        f"of 0 {summary['nullity_is']} {c['nullity']}; {c['dead']:,} dead coordinates excluded",
        *([summary["advice"]] if summary["advice"] else []),
        *(["values that are not finite cannot be drawn"] * (summary["status"] == "not finite")),
    ]


def dataset(spectrum: SpectrumResults) -> Any:
    """Return eigenvalues, trace and spectral density as a Dataset."""
    import numpy as np
    import xarray as xr

    extremes, density = spectrum.extremes, spectrum.density
    rank = np.arange(1, 1 + max((len(p.values) for p in spectrum.parts.values()), default=0))
    parts = {}
    for name in ("values", "residuals"):
        parts[name] = np.full((len(spectrum.parts), len(rank)), np.nan)
        for row, pairs in zip(parts[name], spectrum.parts.values(), strict=True):
            row[: len(pairs.values)] = getattr(pairs, name)
    return xr.Dataset(
        {
            "eigenvalue": ("end", extremes.values, {"long_name": "eigenvalue of the Hessian"}),
            "residual": ("end", extremes.residuals, {"long_name": "|H v - eigenvalue v|"}),
            "part_eigenvalue": (("part", "rank"), parts["values"]),
            "part_residual": (("part", "rank"), parts["residuals"]),
            "density": ("at", density.value, {"long_name": "share of eigenvalues per unit"}),
            "density_error": ("at", density.error, {"long_name": "standard error"}),
            "node": (("probe", "depth"), density.nodes),
            "weight": (("probe", "depth"), density.weights),
        },
        {"at": ("at", density.at, {"long_name": "eigenvalue"}), "rank": rank},
        {
            "parts": list(spectrum.parts),
            "density_bandwidth": float(density.bandwidth),
            "trace": float(spectrum.trace.value),
            "trace_standard_error": float(spectrum.trace.error),
        },
    )
