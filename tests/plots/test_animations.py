"""Animations: only the ball moves, and notebooks can play them."""

from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from PIL import Image
from plane_of_a_bowl import plane

from gdjax.plots import animations


def test_an_animation_follows_the_descent_and_is_small(tmp_path):
    seen = plane(path=True)
    found = animations.animation(seen, title="rate 1", frames=4)
    found.savefig(tmp_path / "descent.png", dpi=150)
    assert [p.name for p in tmp_path.iterdir()] == ["descent.webp"]
    assert (tmp_path / "descent.webp").stat().st_size < 2**21
    with Image.open(tmp_path / "descent.webp") as image:
        assert image.n_frames == len(found.frames) == 4
        assert image.size == found.frames[0].size
    pictures = [np.asarray(frame, int) for frame in found.frames]
    changed = [np.abs(a - b).max(-1) > 40 for a, b in pairwise(pictures)]
    # The ball moves, the picture around it does not.
    assert all(0 < c.mean() < 0.05 for c in changed)


def test_moments_pass_over_where_a_descent_rests():
    """100 snapshots, the last 80 equal: half of the frames show the first 20."""
    way = np.concatenate([np.linspace(1, 0, 20), np.zeros(80)])
    seen = xr.Dataset({"path_a": ("t", way), "path_b": ("t", way)})
    shown = animations._frame_indices(seen, 21)
    assert (shown[0], shown[-1]) == (0, 99)
    assert len(shown) <= 21
    assert np.sum(shown < 20) > 10
    still = xr.Dataset({"path_a": ("t", np.zeros(5)), "path_b": ("t", np.zeros(5))})
    assert animations._frame_indices(still, 60).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.long
def test_an_animation_plays_in_a_page():
    found = animations.animation(plane(path=True), frames=3)
    assert found._repr_html_().startswith('<img alt="an animation" src="data:image/webp;base64,')
    assert found.to_jshtml().count("data:image/png") == len(found.frames) == 3
