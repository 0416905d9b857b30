"""What a network is shown in training, as pictures: the coarse patch beside the fine one."""

from __future__ import annotations

import numpy as np

from core.imaging.windows import default_window, to_display
from core.readings.reading import RestoredImage
from core.tasks.super_resolution.data import SampleKey, SampleMaker, Source
from core.tasks.super_resolution.planning import Plan, plan_network, plan_scaling
from core.tasks.super_resolution.scaling import ValueScale, measure_scale, middle_plane
from core.tasks.super_resolution.settings import SuperResolutionSettings, degradation_of
from core.types import Array, Image, ImageInfo

PATCH_SIDE = 32  # coarse pixels


def preview_pairs(
    image: Image, fine: RestoredImage | None, settings: SuperResolutionSettings, count: int, seed: int
) -> list[Array]:
    """Return ``count`` pictures (uint8, yx or yxc): a coarse patch, its pixels enlarged, left of the true one.

    Args:
        image: the case.
        fine: its finer image, for real pairs.
        settings: what is made of it.
        count: number of pictures.
        seed: same seed, same pictures.
    """
    true_image = image if fine is None else Image(fine.array, fine.info)
    plan = Plan(
        spec=plan_network(settings, image.info.channels),
        scaling=plan_scaling([true_image.info]),
        degradation=degradation_of(settings),
        axes="in_plane",  # one plane is all there is here
        patch=(PATCH_SIDE, PATCH_SIDE),
        batch_size=1,
    )
    scale = measure_scale(true_image.array, plan.scaling)
    plane = middle_plane(true_image, settings.axes)
    coarse = None if fine is None else scale.to_network(middle_plane(image, settings.axes))[None]
    source = Source("", "", plane, ImageInfo("yxc", plane.shape, plane.dtype.name), scale, coarse)
    maker = SampleMaker([source], plan, settings.flips, settings.rotate90)
    window = image.info.window or default_window(image.array, image.info)
    pictures = []
    for number in range(count):
        batch = maker([SampleKey(0, 0, seed + number)])
        pair = [_in_units(planes[0].permute(1, 2, 0).numpy(), scale, plane.dtype) for planes in batch]
        for axis, factor in enumerate(settings.factors):
            pair[0] = np.repeat(pair[0], factor, axis=axis)
        shown = [
            to_display(one[..., 0] if one.shape[2] == 1 else one, window, image.info.inverted) for one in pair
        ]
        pictures.append(np.concatenate(shown, axis=1))
    return pictures


def _in_units(patch: Array, scale: ValueScale, dtype: np.dtype) -> Array:
    """Bring a patch back to the image's units; bytes become bytes, so that colour is shown as it is."""
    values = scale.from_network(patch)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8) if dtype == np.uint8 else values
