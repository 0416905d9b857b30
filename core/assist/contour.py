"""The thing around clicks: of all shapes that grow from them, the one with the sharpest outline."""

from __future__ import annotations

import cv2
import numpy as np

from core.assist.levels import FloatArray
from core.types import Array

SMOOTH_PX = 1.5
FLOOR = 0.005  # what a step costs where there is no edge
LIKENESS = 0.9  # what a step costs per difference from the values clicked on
LEAST_PX = 30
LARGEST_SHARE = 0.35  # of the region
SIZES_TRIED = 48
EDGE_PERCENTILE = 40  # most of the outline must be sharp, not a part of it very sharp


def grow_to_edges(grey: FloatArray, inside: Array) -> Array:
    """Return the thing around places as a mask (bool).

    Shapes of equal cost around the places, where crossing an edge costs, are compared by how sharp their outlines are.

    Args:
        grey: (h, w), in about [0, 1].
        inside: bool (h, w), the places clicked on; not empty.

    Source: A. Criminisi, T. Sharp, A. Blake, GeoS: geodesic image segmentation, ECCV 2008 (growing by geodesic
    distance).
    """
    from skimage.graph import MCP_Geometric

    smooth = np.asarray(cv2.GaussianBlur(grey, (0, 0), SMOOTH_PX), np.float32)
    slopes = [cv2.Sobel(smooth, cv2.CV_32F, dx, 1 - dx, ksize=1, scale=0.5) for dx in (1, 0)]
    edges = np.asarray(cv2.magnitude(*slopes), np.float32)
    near = smooth[cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0]
    unlike = np.maximum(np.abs(smooth - np.median(near)) - 1.5 * near.std(), 0)
    distance, _ = MCP_Geometric(FLOOR + edges + LIKENESS * unlike).find_costs(np.argwhere(inside).tolist())
    order = np.sort(distance, axis=None)
    largest = max(1, int(LARGEST_SHARE * order.size))
    sizes = np.unique(np.geomspace(min(LEAST_PX, largest), largest, SIZES_TRIED).astype(int))
    shapes = [distance <= order[size - 1] for size in sizes]
    found: Array = shapes[int(np.argmax([_sharpness(edges, shape) for shape in shapes]))]
    return found


def _sharpness(edges: FloatArray, shape: Array) -> float:
    solid = shape.astype(np.uint8)
    rim = shape & (cv2.erode(solid, np.ones((3, 3), np.uint8)) == 0)
    return float(np.percentile(edges[rim], EDGE_PERCENTILE)) if rim.any() else 0.0
