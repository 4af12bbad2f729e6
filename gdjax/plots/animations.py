"""Animations of a descent on its plane.

>>> one = Animation([Image.new("RGB", (4, 3)), Image.new("RGB", (4, 3), "white")])
>>> print(one._repr_html_()[:23])
<img alt="an animation"
"""

import base64
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from gdjax.plots.axes import legend_above, set_title
from gdjax.plots.landscapes import cost_colorbar, cost_scale, descent_costs, plane
from gdjax.plots.style import BLACK, VERMILLION, Figure, style

FRAME_MILLISECONDS = 90  # the last frame is shown 30 times as long


class Animation(NamedTuple):
    """Images of equal size, with a `savefig` like that of a Figure, which writes WebP."""

    frames: list[Image.Image]

    def savefig(self, file: str | Path, dpi: int = 90) -> None:
        """Write an animated WebP file.

        Args:
            file: file name; its suffix is replaced by .webp.
            dpi: ignored, since the frames already have a size.
        """
        del dpi
        Path(file).with_suffix(".webp").write_bytes(self._webp())

    def _repr_html_(self) -> str:
        """Return HTML without scripts, for notebooks."""
        code = base64.b64encode(self._webp()).decode()
        return f'<img alt="an animation" src="data:image/webp;base64,{code}">'

    def _webp(self):
        file = io.BytesIO()
        durations = [FRAME_MILLISECONDS] * (len(self.frames) - 1) + [30 * FRAME_MILLISECONDS]
        first, *rest = self.frames
        first.save(
            file, "WEBP", save_all=True, append_images=rest, duration=durations, loop=0, quality=70,
            method=2,
        )  # fmt: skip
        return file.getvalue()


def animation(dataset: Any, *, title: str = "", frames: int = 48) -> Animation:
    """Animate a descent on its plane, beside its cost against the step.

    Args:
        dataset: Dataset of a plane with a descent.
        title: title of the plane.
        frames: maximum number of frames; steps are skipped where the descent moves little.

    Examples:
        >>> import jax.numpy as jnp
        >>> from gdjax import landscape
        >>> snapshots = jnp.array([[4, 1, 0], [3, 0.1, 0], [2, 0, 0], [1, 0, 0]])
        >>> path = landscape.trajectory_plane(lambda w: w @ w, snapshots, points=5)
        >>> len(animation(path, frames=2).frames)
        2
    """
    indices = _frame_indices(dataset, frames)
    norm = cost_scale([dataset])
    with style():
        figure = Figure(figsize=(10, 4.4), dpi=90)
        canvas = FigureCanvasAgg(figure)
        axes, side = figure.subplots(1, 2, width_ratios=(1.45, 1))
        plane(dataset, norm=norm, ax=axes)
        cost_colorbar(norm, ax=axes, aspect=30, pad=0.02)
        a, b = dataset.path_a.values, dataset.path_b.values
        axes.plot(a, b, color="white", linewidth=1, alpha=0.6)
        (path,) = axes.plot([], [], color=BLACK, linewidth=2)
        (ball,) = axes.plot([], [], "o", color=VERMILLION, markeredgecolor="white", markersize=12)
        descent_costs(dataset, ax=side)
        side.set_title("step")  # reserves space in the layout
        legend_above(side, 1)
        step, cost = dataset.snapshot_step.values, dataset.path_cost.values
        (dot,) = side.plot([], [], "o", color=VERMILLION, markeredgecolor=BLACK, markersize=9)
        axes.set_title(title)
        canvas.draw()  # computes the layout once, so that only the markers move
        figure.set_layout_engine("none")
        images = []
        for last in indices:
            path.set_data(a[: last + 1], b[: last + 1])
            ball.set_data(a[last : last + 1], b[last : last + 1])
            dot.set_data(step[last : last + 1], cost[last : last + 1])
            set_title(side, f"step {step[last]:,}: cost {cost[last]:.3g}")
            canvas.draw()
            images.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"))
    return Animation(images)


def _frame_indices(dataset, frames):
    """Return snapshot indices at equal increments of relative distance plus time."""
    a, b = dataset.path_a.values, dataset.path_b.values
    count = len(a)
    path_length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(a), np.diff(b)))])
    time = np.arange(count) / max(count - 1, 1)
    progress = (path_length / path_length[-1] if path_length[-1] > 0 else time) + time
    targets = np.linspace(0, progress[-1], min(frames, count))
    return np.unique(np.abs(progress[None] - targets[:, None]).argmin(axis=1))
