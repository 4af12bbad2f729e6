"""Animations of descents, and their display in notebooks."""

from itertools import pairwise

import numpy as np
import xarray as xr
from PIL import Image
from plane_of_a_bowl import plane

from gdjax.plots import animations


def test_an_animation_is_a_small_webp_file_in_which_only_the_ball_moves(tmp_path):
    observed = plane(path=True)
    result = animations.animation(observed, title="rate 1", frames=4)
    result.savefig(tmp_path / "descent.png", dpi=150)
    assert [p.name for p in tmp_path.iterdir()] == ["descent.webp"]
    assert (tmp_path / "descent.webp").stat().st_size < 2**21
    with Image.open(tmp_path / "descent.webp") as image:
        assert image.n_frames == len(result.frames) == 4
        assert image.size == result.frames[0].size
    figures = [np.asarray(frame, int) for frame in result.frames]
    changed = [np.abs(a - b).max(-1) > 40 for a, b in pairwise(figures)]
    # Only the ball moves.
    assert all(0 < c.mean() < 0.05 for c in changed)


def test_frames_skip_the_part_where_a_descent_does_not_move():
    """The last 80 of 100 snapshots are equal; most frames show the first 20."""
    positions = np.concatenate([np.linspace(1, 0, 20), np.zeros(80)])
    observed = xr.Dataset({"path_a": ("t", positions), "path_b": ("t", positions)})
    indices = animations._frame_indices(observed, 21)
    assert (indices[0], indices[-1]) == (0, 99)
    assert len(indices) <= 21
    assert np.sum(indices < 20) > 10
    still = xr.Dataset({"path_a": ("t", np.zeros(5)), "path_b": ("t", np.zeros(5))})
    assert animations._frame_indices(still, 60).tolist() == [0, 1, 2, 3, 4]
