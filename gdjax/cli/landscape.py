"""`gdjax landscape`: evaluate the cost around a network and along its descent."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from msgspec import Meta

from gdjax.base import process, results
from gdjax.base.errors import InputError
from gdjax.base.limits import Positive, Seed
from gdjax.cli.emit import emit, table
from gdjax.cli.point import Origin

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
    points: Annotated[int, Meta(ge=2, le=MAX_SIDE)] = 51
    """Number of points along each side of a plane."""
    reach: Positive | None = None
    """Half-width of planes, as a distance between parameters; by default, a third of the norm of
    the parameters (1 if they are all 0). The trajectory plane is sized to contain the descent."""
    direction_seed: Seed = 0
    """Seed of the random directions."""
    out: Path | None = None
    """Folder for results; by default results/landscape/<hash of these settings>."""

    def run(self) -> None:
        """Evaluate the planes, write data, summary and figures, and print a table."""
        self.origin.check()
        if len(set(self.directions)) < len(self.directions):
            raise InputError(
                f"--directions {' '.join(self.directions)}: expected each direction once"
            )
        process.configure()
        import xarray as xr

        point = self.origin.find()
        kinds = self._kinds(point)
        folder = results.folder("landscape", self, self.out)
        planes = {kind: self._plane(point, kind) for kind in kinds}
        rows = {kind: row(plane) for kind, plane in planes.items()}
        emit(
            "landscape",
            self,
            folder,
            data={"planes": xr.DataTree.from_dict(planes)},
            summary={"point": point.label, "problem": point.problem.provenance, "planes": rows},
            draw=lambda: figures(planes, point.label),
            report=report(rows),
            next_command=("explore", "--planes", folder / "planes.zarr"),
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

    def _plane(self, point, kind):
        import jax
        import numpy as np
        import optax

        from gdjax import landscape

        problem, params = point.problem, point.params
        if kind == TRAJECTORY:
            return landscape.trajectory_plane(
                problem, point.snapshots, step=point.step, points=self.points
            )
        reach = self.reach or float(optax.tree.norm(params)) / 3 or 1.0
        side = np.linspace(-reach, reach, self.points)
        key = jax.random.key(self.direction_seed)
        directions = landscape.plane_directions(problem, params, kind, key=key)
        plane = landscape.plane(problem, params, directions, side, side)
        return plane.assign_attrs(kind=kind, direction_seed=self.direction_seed)


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


def figures(planes: dict[str, Any], title: str) -> dict[str, Any]:
    """Draw the descent, the surface below it, and the other planes."""
    from gdjax.plots import animations, landscapes

    drawn: dict[str, Any] = {}
    around = {kind.replace("neuron", "neuron-scaled"): plane for kind, plane in planes.items()}
    trajectory = around.pop(TRAJECTORY, None)
    if trajectory is not None:
        drawn["descent"] = landscapes.descents({title: trajectory})
        drawn["surface"] = landscapes.surface(trajectory, title=title)
        drawn["motion"] = animations.animation(trajectory, title=title)
    if around:
        drawn["planes"] = landscapes.planes({"": around}, title=title)
    return drawn


def report(rows: dict[str, Any]) -> list[str]:
    """Return the printed table, and a sentence on the trajectory."""
    columns = {
        "plane": list(rows),
        "lowest cost": [f"{row['lowest_cost']:.4g}" for row in rows.values()],
        "highest cost": [f"{row['highest_cost']:.4g}" for row in rows.values()],
        "directions": ["; ".join(row["directions"]) for row in rows.values()],
    }
    lines = [table(columns)]
    if TRAJECTORY in rows:
        descent = rows[TRAJECTORY]
        lines.append(
            f"trajectory: its plane explains {descent['explained']:.1%}; distance from the plane "
            f"at most {descent['off_plane_most']:.3g}; initial cost {descent['start_cost']:.4g}, "
            f"and {descent['start_cost_in_plane']:.4g} when projected onto the plane"
        )
    return lines
