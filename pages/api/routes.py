"""All addresses under ``/api`` that the viewer uses, in one literal list."""

from __future__ import annotations

from starlette.routing import Route

from pages.api import assist, images, marking, modules, readings
from pages.api.gate import reading, writing

ROUTES = (
    Route("/api/viewer/{digest}/{name}", modules.module),
    Route("/api/images/{image_id}/info", reading(images.info)),
    Route("/api/images/{image_id}/slices/{planes}", reading(images.slices)),
    Route("/api/images/{image_id}/planes/{axis}/{planes}", reading(images.planes)),
    Route("/api/images/{image_id}/tiles/{level}/{row}/{column}", reading(images.tiles)),
    Route("/api/readings/{version_id}/summary", reading(readings.summary)),
    Route("/api/readings/{version_id}/slices/{plane}.png", reading(readings.slice_png)),
    Route("/api/readings/{version_id}/slices/{planes}", reading(readings.slices)),
    Route("/api/readings/{version_id}/probabilities/{planes}", reading(readings.probabilities)),
    Route("/api/readings/{version_id}/boxes", reading(readings.boxes)),
    Route("/api/cases/{case_id}/reading", reading(marking.head), methods=["GET"]),
    Route("/api/cases/{case_id}/reading", writing(marking.put), methods=["PUT"]),
    Route("/api/cases/{case_id}/steps", reading(marking.journal)),
    Route("/api/cases/{case_id}/assist", writing(assist.assist), methods=["POST"]),
)
