"""Style of figures: a context manager, and colors that can be distinguished."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from gdjax.plots import style

# Machado, Oliveira and Fernandes 2009: color perception without red, green or blue cones, as
# matrices for linear RGB.
BLINDNESS = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
               [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
               [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


def lab(rgb):
    """Convert linear RGB to CIE L*a*b* with white point D65."""
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = (np.array(matrix) @ np.clip(rgb, 0, 1)) / (0.9505, 1, 1.089)
    f = [t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("kind", BLINDNESS)
def test_colors_of_lines_differ_for_color_blind_readers(kind):
    def seen(color):
        srgb = np.array(to_rgb(color))
        linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
        return lab(np.array(BLINDNESS[kind]) @ linear)

    distances = [
        np.linalg.norm(seen(a) - seen(b)) for a, b in itertools.combinations(style.CYCLE[:5], 2)
    ]
    assert min(distances) > 10  # a difference of 2.3 is just noticeable
