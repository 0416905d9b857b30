"""What is kept of DICOM files beside the pixels: headers by the chosen profile, and facts cleaned by the same."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom.datadict import dictionary_description
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset

from core.imaging.burned_in import header_warnings
from core.imaging.deidentify import Deidentifier, Rules, deidentifier_for, readable_elements
from core.imaging.dicom_header import METADATA_KEYWORDS, metadata_of, read_object
from core.imaging.found import Found
from core.imaging.headers import Headers, JsonDataset
from core.types import ImageInfo, info_from_json, info_to_json

BULK = frozenset(("OB", "OW", "OF", "OD", "OL", "OV", "UN"))


def with_headers(found: Found, rules: Rules) -> Found:
    """Return an image read from DICOM files as the profile wants it, with its headers.

    Under "keep" everything stays. Else facts come from the cleaned header, texts that hold a word of the patient's
    name lose it, and the image is named by modality and numbers, never by its file.

    Args:
        found: an image whose ``files`` are in slice order.
        rules: the profile and the installation's secret.

    Raises:
        FileRefused: when a file cannot be read any more.
    """
    first = read_object(found.files[0], with_pixels=False)
    cleaner = deidentifier_for(first, rules)
    headers = keep_headers(found.files, first, cleaner)
    info = found.image.info
    said = header_warnings(first, info.slices if info.is_volume else 1)
    warned = dataclasses.replace(info, warnings=(*info.warnings, *said))
    if rules.profile == "keep":
        image = dataclasses.replace(found.image, info=warned)
        return dataclasses.replace(found, image=image, patient_key=cleaner.key or None, headers=headers)
    info = _clean_info(warned, cleaner, first)
    return dataclasses.replace(
        found,
        image=dataclasses.replace(found.image, info=info),
        name=technical_name(info, headers, found.name),
        patient_key=cleaner.key or None,
        headers=headers,
    )


def keep_headers(files: Sequence[Path], first: Dataset, cleaner: Deidentifier) -> Headers:
    """Return the headers of an image's files: the first one's, and of each what differs.

    Args:
        files: in slice order.
        first: the header of the first file.
        cleaner: the de-identifier of its patient.
    """
    raw = _raw_values(read_object(files[0], with_pixels=False))  # again, as values that were read are not raw
    changes: list[JsonDataset] = [{}]
    missing: list[set[str]] = [set()]
    for path in files[1:]:
        dataset = read_object(path, with_pixels=False)
        values = _raw_values(dataset)
        changed = {tag for tag, value in values.items() if tag not in raw or raw[tag] != value}
        changes.append(_to_json(_cleaned_part(dataset, changed, cleaner)))
        missing.append({f"{tag:08X}" for tag in raw.keys() - values.keys() | changed})
    whole = _to_json(cleaner.apply(first))
    varying = {tag for part in changes for tag in part} | {tag for tags in missing for tag in tags}
    own = tuple(
        {**{tag: whole[tag] for tag in varying - gone if tag in whole}, **change}
        for change, gone in zip(changes, missing, strict=True)
    )
    shared = {tag: element for tag, element in whole.items() if tag not in varying}
    names = {tag: _name_of(int(tag, 16)) for tag in {*shared, *(tag for part in own for tag in part)}}
    return Headers(cleaner.rules.profile, shared, own, names)


def technical_name(info: ImageInfo, headers: Headers, name: str) -> str:
    """Name an image by modality and numbers: "CT series 3 (120 slices)", "DX series 1 image 4".

    Args:
        info: the image.
        headers: its cleaned headers.
        name: the reader's name for it, which may be the file's; only its mark of a part is taken over.
    """
    series, instance = headers.text("00200011"), headers.text("00200013")
    words = f"{info.modality} series" + (f" {series}" if series.lstrip("-").isdigit() else "")
    if info.slices > 1:
        words += f" ({info.slices} {'slices' if info.is_volume else 'frames'})"
    elif instance.lstrip("-").isdigit():
        words += f" image {instance}"
    _, mark, part = name.rpartition(", part ")
    return f"{words}{mark}{part}" if mark and part.isdigit() else words


def _clean_info(info: ImageInfo, cleaner: Deidentifier, first: Dataset) -> ImageInfo:
    facts = metadata_of(cleaner.clean(first))
    metadata = {
        key: value for key, value in info.metadata.items() if key not in METADATA_KEYWORDS or key in facts
    }
    cleaned = dataclasses.replace(
        info, metadata={**metadata, **{key: facts[key] for key in facts if key in metadata}}
    )
    return info_from_json(_without_identity(info_to_json(cleaned), cleaner))


def _without_identity(value: Any, cleaner: Deidentifier) -> Any:
    """Blank every text that holds a word of the patient's name, at any depth."""
    if isinstance(value, str):
        return "removed" if cleaner.identity.is_in(value) else value
    if isinstance(value, dict):
        return {key: _without_identity(item, cleaner) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_identity(item, cleaner) for item in value]
    return value


def _raw_values(dataset: Dataset) -> dict[int, Any]:
    """Return the elements as stored, so that slices are compared without reading their values."""
    found: dict[int, Any] = {}
    for tag in dataset.keys():  # noqa: SIM118 - iterating a data set reads every value
        if tag.is_private:
            continue
        element = dataset.get_item(tag)
        found[int(tag)] = element.value if isinstance(element, RawDataElement | DataElement) else None
    return found


def _cleaned_part(dataset: Dataset, tags: set[int], cleaner: Deidentifier) -> Dataset:
    part = Dataset()
    for element in readable_elements(dataset, tags):
        part.add(element)
    return part if cleaner.rules.profile == "keep" else cleaner.clean(part)


def _to_json(dataset: Dataset) -> JsonDataset:
    """Return the DICOM JSON model of what has readable values; bulk data and private elements stay out."""
    plain = Dataset()
    for element in readable_elements(dataset):
        plain.add(element)
    data: JsonDataset = plain.to_json_dict(suppress_invalid_tags=True)
    return _without_bulk(data)


def _without_bulk(data: JsonDataset) -> JsonDataset:
    kept: JsonDataset = {}
    for tag, element in data.items():
        if element.get("vr") in BULK:
            continue
        if element.get("vr") == "SQ":
            element = {**element, "Value": [_without_bulk(item) for item in element.get("Value", [])]}
        elif "Value" in element:
            element = {**element, "Value": [_finite(value) for value in element["Value"]]}
        kept[tag] = element
    return kept


def _finite(value: Any) -> Any:
    """Return None for numbers that JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _name_of(tag: int) -> str:
    try:
        return dictionary_description(tag)
    except KeyError:
        return ""
