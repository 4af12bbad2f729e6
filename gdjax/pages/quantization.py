"""Quantization of network weights to bytes, to embed many networks in a page.

w_ij ≈ scale_i byte_ij
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int8


def quantize(
    networks: Sequence[tuple[np.ndarray, np.ndarray]],
) -> tuple[
    Int8[np.ndarray, "networks weights"],
    Float[np.ndarray, "networks neurons"],
    Float[np.ndarray, "networks neurons"],
]:
    """Quantize weights to bytes, with one scale per neuron.

        w_ij ≈ scale_i byte_ij,   scale_i = max_j |w_ij| / 127

    Args:
        networks: weights and biases of each layer, with a leading axis of networks.

    Returns:
        Weights as bytes, scales, and biases, each concatenated over the layers.

    Examples:
        >>> layer = (np.array([[[0.5, -1.0]]]), np.array([[0.25]]))
        >>> codes, scales, biases = quantize([layer])
        >>> codes.tolist(), (scales * 127).tolist(), biases.tolist()
        ([[64, -127]], [[1.0]], [[0.25]])
    """
    codes, scales, biases = [], [], []
    for weights, bias in networks:
        scale = np.abs(weights).max(axis=-1) / 127
        code = np.round(weights / np.where(scale == 0, 1, scale)[..., None])
        codes.append(code.astype(np.int8).reshape(len(weights), -1))
        scales.append(scale)
        biases.append(bias)
    return (
        np.concatenate(codes, axis=1),
        np.concatenate(scales, axis=1),
        np.concatenate(biases, axis=1),
    )
