"""`gdjax landscape`: evaluate the cost around a network and along its descent."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tyro

from gdjax.cli import checks
from gdjax.cli.point import Origin
from gdjax.errors import InputError

TRAJECTORY = "trajectory"


MAX_SIDE = 3000  # maximum number of points along a side of a plane


@dataclass(frozen=True)
class Landscape:
    """Evaluate the cost on planes around a network and along its descent."""

    origin: tyro.conf.OmitArgPrefixes[Origin] = field(default_factory=Origin)
    directions: tuple[
        Literal["trajectory", "random", "neuron", "layer", "eigenvectors", "gradient"], ...
    ] = ()
    """Directions that span each plane: the principal directions of the descent (trajectory), two
    random directions (random), two random directions scaled to the norm of the weights of each
    neuron (neuron) or layer (layer), eigenvectors of the two largest eigenvalues of the Hessian
    (eigenvectors), or the gradient and a random direction (gradient). By default trajectory (if
    snapshots exist), random, neuron and eigenvectors."""
    points: int = 51
    """Number of points along each side of a plane."""
    reach: float | None = None
    """Half-width of planes, as a distance between parameters; by default, a third of the norm of
    the parameters (1 if they are all 0). The trajectory plane is sized to contain the descent."""
    direction_seed: int = 0
    """Seed of the random directions."""
    out: Path | None = None
    """Folder for results; by default results/landscape/<hash of these settings>."""

    def run(self) -> None:
        """Evaluate the planes, write data, summary and figures, and print a table."""
        self._check()
        from gdjax._runtime import process, results

        process.configure()
        import jax
        import numpy as np
        import optax

        from gdjax import landscape

        point = self.origin.find()
        kinds = self._kinds(point)
        folder = results.folder("landscape", self, self.out)
        problem, params = point.problem, point.params
        reach = self.reach or float(optax.tree.norm(params)) / 3 or 1.0
        side = np.linspace(-reach, reach, self.points)
        planes = {}
        for kind in kinds:
            if kind == TRAJECTORY:
                planes[kind] = landscape.trajectory_plane(
                    problem, point.snapshots, step=point.step, points=self.points
                )
                continue
            key = jax.random.key(self.direction_seed)
            two = landscape.plane_directions(problem, params, kind, key=key)
            planes[kind] = landscape.plane(problem, params, two, side, side).assign_attrs(
                kind=kind, direction_seed=self.direction_seed
            )
        self._write(folder, point, planes)

    def _check(self):
        """Check the flags before JAX is imported."""
        self.origin.check()
        checks.at_least(2, self, "points")
        if self.points > MAX_SIDE:
            raise InputError(f"--points {self.points}: expected at most {MAX_SIDE:,} along a side")
        checks.positive(self, "reach")
        checks.seed("--direction-seed", self.direction_seed)
        if len(set(self.directions)) < len(self.directions):
            raise InputError(
                f"--directions {' '.join(self.directions)}: expected each direction once"
            )

    def _kinds(self, point):
        if point.snapshots is None and TRAJECTORY in self.directions:
            raise InputError(
                "--directions trajectory: the descent of this network has no snapshots; pass the "
                "store of a sweep with snapshot_every, or leave out --store and --params to train "
                "a network"
            )
        usual = ("random", "neuron", "eigenvectors")
        return self.directions or (usual if point.snapshots is None else (TRAJECTORY, *usual))

    def _write(self, folder: Path, point: Any, planes: dict[str, Any]) -> None:
        import xarray as xr

        from gdjax._runtime import results
        from gdjax.plots import animations, landscapes

        summaries = {kind: row(plane) for kind, plane in planes.items()}
        results.save_data(xr.DataTree.from_dict(planes), folder / "planes.zarr")
        results.write_summary(
            folder,
            "landscape",
            self,
            {"point": point.label, "problem": point.problem.provenance, "planes": summaries},
        )
        around = {kind: plane for kind, plane in planes.items() if kind != TRAJECTORY}
        figures: dict[str, Any] = {}
        if TRAJECTORY in planes:
            trajectory = planes[TRAJECTORY]
            figures |= {
                "descent": landscapes.descents({point.label: trajectory}),
                "surface": landscapes.surface(trajectory, title=point.label).figure,
                "motion": animations.animation(trajectory, title=point.label),
            }
        if around:
            titled = {
                kind.replace("neuron", "neuron-scaled"): plane for kind, plane in around.items()
            }
            figures["planes"] = landscapes.planes({"": titled}, title=point.label)
        for name, figure in figures.items():
            results.save_figure(figure, folder / f"{name}.png")
        print(f"{'plane':>12}  lowest cost  highest cost  directions")
        for kind, summary in summaries.items():
            print(
                f"{kind:>12}  {summary['lowest_cost']:>11.4g}  {summary['highest_cost']:>12.4g}  "
                f"{'; '.join(summary['directions'])}"
            )
        if TRAJECTORY in summaries:
            summary = summaries[TRAJECTORY]
            print(
                f"trajectory: its plane explains {summary['explained']:.1%}; distance from the "
                f"plane at most {summary['off_plane_most']:.3g}; initial cost "
                f"{summary['start_cost']:.4g}, and {summary['start_cost_in_plane']:.4g} when "
                f"projected onto the plane"
            )
        print(f"written to {folder}")
        print(results.next_command("explore", "--planes", folder / "planes.zarr"))


def row(plane: Any) -> dict[str, Any]:
    """Return a summary of a plane; the extreme costs are NaN if no cost is finite."""
    import numpy as np

    cost = plane.cost.values[np.isfinite(plane.cost.values)]
    summary = {
        "directions": list(plane.attrs["directions"]),
        "lowest_cost": float(cost.min()) if cost.size else float("nan"),
        "highest_cost": float(cost.max()) if cost.size else float("nan"),
        "evaluated": plane.attrs["evaluated"],
    }
    if "path_cost" in plane:
        summary |= {
            "explained": float(plane.explained[:2].sum()),
            "off_plane_most": float(plane.path_off.max()),
            "start_cost": float(plane.path_cost[0]),
            "start_cost_in_plane": float(plane.path_cost_in_slice[0]),
            "end_cost": float(plane.path_cost[-1]),
        }
    return summary
