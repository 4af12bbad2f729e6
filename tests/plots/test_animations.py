"""Animations: only the ball moves, and notebooks can play them."""

from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from PIL import Image
from plane_of_a_bowl import plane

from gdjax.plots import animations


def test_an_animation_follows_the_descent_and_is_small(tmp_path):
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
    # The ball moves, the picture around it does not.
    assert all(0 < c.mean() < 0.05 for c in changed)


def test_moments_pass_over_where_a_descent_rests():
    """100 snapshots, the last 80 equal: half of the frames show the first 20."""
    way = np.concatenate([np.linspace(1, 0, 20), np.zeros(80)])
    observed = xr.Dataset({"path_a": ("t", way), "path_b": ("t", way)})
    shown = animations._frame_indices(observed, 21)
    assert (shown[0], shown[-1]) == (0, 99)
    assert len(shown) <= 21
    assert np.sum(shown < 20) > 10
    still = xr.Dataset({"path_a": ("t", np.zeros(5)), "path_b": ("t", np.zeros(5))})
    assert animations._frame_indices(still, 60).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.long
def test_an_animation_plays_in_a_page():
    result = animations.animation(plane(path=True), frames=3)
    assert result._repr_html_().startswith('<img alt="an animation" src="data:image/webp;base64,')
    assert result.to_jshtml().count("data:image/png") == len(result.frames) == 3
