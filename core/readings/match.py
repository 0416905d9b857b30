"""Which mask file belongs to which image, by their names."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from core.imaging.formats import SUFFIXES

KNOWN_EXTENSIONS = (".ome.tif", ".ome.tiff", *(ending for endings in SUFFIXES.values() for ending in endings))
SEPARATORS = "_-. "
LABEL_WORDS = (
    "mask", "masks", "seg", "segmentation", "label", "labels", "gt", "groundtruth", "ground_truth", "truth",
    "manual", "annotation", "anno", "contour", "roi", "labelmap", "lesion",
)  # fmt: skip
MAX_AFFIX = 40


@dataclass(frozen=True)
class Unmatched:
    """An image or label file that found no partner, with the reason in one sentence."""

    name: str
    reason: str


@dataclass(frozen=True)
class MatchResult:
    """What belongs together.

    Attributes:
        pairs: image name as given -> its label file.
        unmatched_images: images without a label file.
        unmatched_labels: label files without an image.
        prefix: what label names have before the image's name; "" when nothing.
        suffix: what label names have after the image's name, such as "_mask"; "" when nothing.
        rule: the rule in words.
    """

    pairs: dict[str, Path]
    unmatched_images: tuple[Unmatched, ...]
    unmatched_labels: tuple[Unmatched, ...]
    prefix: str = ""
    suffix: str = ""
    rule: str = ""


@dataclass(frozen=True)
class _Rule:
    """How both names lead to one key: the affixes are taken off."""

    label_prefix: str = ""
    label_suffix: str = ""
    image_prefix: str = ""
    image_suffix: str = ""

    def image_key(self, stem: str) -> str | None:
        return _without(stem, self.image_prefix, self.image_suffix)

    def label_key(self, stem: str) -> str | None:
        return _without(stem, self.label_prefix, self.label_suffix)

    def in_words(self) -> str:
        if self.image_prefix or self.image_suffix:
            image = f"{self.image_prefix}NAME{self.image_suffix}"
            return f"image {image} has the label {self.label_prefix}NAME{self.label_suffix}"
        if self.label_prefix or self.label_suffix:
            return f"labels are named like their image: {self.label_prefix}NAME{self.label_suffix}"
        return "labels are named exactly like their image"


def file_stem(name: str | PurePath) -> str:
    """Return a file's name without folder and without a known extension; other dots belong to the name."""
    base = re.split(r"[/\\]", str(name))[-1]
    lowered = base.lower()
    endings = [ending for ending in KNOWN_EXTENSIONS if lowered.endswith(ending) and len(base) > len(ending)]
    return base[: -len(max(endings, key=len))] if endings else base


def match_by_stem(images: Sequence[str], labels: Sequence[Path]) -> MatchResult:
    """Pair images with label files by their stems, allowing one common prefix or suffix for all labels.

    The rule that pairs most wins. Where several files share a name, the name of their folder decides;
    what stays ambiguous is left out with a reason.

    Args:
        images: names, file names or relative paths of the images.
        labels: label files.
    """
    image_stems, label_stems = [file_stem(name) for name in images], [file_stem(path) for path in labels]
    if len(images) > 1 and len(set(image_stems)) == 1 and _parents_differ(images):
        image_stems, label_stems = [_parent(name) for name in images], [_parent(path) for path in labels]
    rule = _best_rule(image_stems, label_stems)
    image_groups = _group(image_stems, rule.image_key)
    label_groups = _group(label_stems, rule.label_key)
    pairs: dict[str, Path] = {}
    image_reasons: dict[int, str] = {}
    label_reasons: dict[int, str] = {}
    for key, image_numbers in image_groups.items():
        label_numbers = label_groups.get(key, [])
        chosen = _pair_group(images, labels, image_numbers, label_numbers)
        pairs |= {images[i]: labels[j] for i, j in chosen.items()}
        for i in set(image_numbers) - set(chosen):
            image_reasons[i] = _why_no_label(key, image_numbers, [labels[j] for j in label_numbers], rule)
        for j in set(label_numbers) - set(chosen.values()):
            label_reasons[j] = (
                f"{len(label_numbers)} label files and {len(image_numbers)} images are called {key}, "
                "so none can be told apart."
            )
    return MatchResult(
        pairs=pairs,
        unmatched_images=_unmatched(
            images, set(pairs), image_reasons, f"No label file has a name that fits ({rule.in_words()})."
        ),
        unmatched_labels=_unmatched(
            [str(path) for path in labels],
            {str(path) for path in pairs.values()},
            label_reasons,
            f"No image has a name that fits ({rule.in_words()}).",
        ),
        prefix=rule.label_prefix,
        suffix=rule.label_suffix,
        rule=rule.in_words(),
    )


def _unmatched(
    names: Sequence[str], done: set[str], reasons: dict[int, str], default: str
) -> tuple[Unmatched, ...]:
    return tuple(
        Unmatched(name, reasons.get(number, default)) for number, name in enumerate(names) if name not in done
    )


def _why_no_label(key: str, images: list[int], found: list[Path], rule: _Rule) -> str:
    if not found:
        return f"No label file is called {rule.label_prefix}{key}{rule.label_suffix}."
    if len(images) > 1:
        return f"{len(images)} images are called {key}, so their label files cannot be told apart."
    names = ", ".join(sorted(path.name for path in found)[:3])
    return f"{len(found)} label files fit ({names}); keep one of them."


def _pair_group(
    images: Sequence[str], labels: Sequence[Path], image_numbers: list[int], label_numbers: list[int]
) -> dict[int, int]:
    """Pair images and labels of one key: one of each, or by the name of the folder they lie in."""
    if len(image_numbers) == 1 and len(label_numbers) == 1:
        return {image_numbers[0]: label_numbers[0]}
    if len({images[i] for i in image_numbers}) < len(image_numbers):
        return {}  # the same name twice: nothing tells them apart
    by_folder = Counter(_parent(labels[j]) for j in label_numbers)
    image_folders = Counter(_parent(images[i]) for i in image_numbers)
    chosen: dict[int, int] = {}
    for i in image_numbers:
        folder = _parent(images[i])
        if folder and by_folder[folder] == 1 and image_folders[folder] == 1:
            chosen[i] = next(j for j in label_numbers if _parent(labels[j]) == folder)
    return chosen


def _best_rule(image_stems: list[str], label_stems: list[str]) -> _Rule:
    exact = _Rule()
    candidates = [exact, *_affix_rules(image_stems, label_stems)]
    if len(image_stems) > 1 and len(label_stems) > 1:
        image_prefix, image_suffix = _common_affixes(image_stems)
        label_prefix, label_suffix = _common_affixes(label_stems)
        both_sides = (
            _Rule(label_prefix, label_suffix, image_prefix, image_suffix),
            _Rule("", "", image_prefix, image_suffix),
            _Rule("", label_suffix, "", image_suffix),
            _Rule(label_prefix, "", image_prefix, ""),
            _Rule("", "", "", image_suffix),
            _Rule("", "", image_prefix, ""),
        )
        candidates += [rule for rule in both_sides if _is_plausible(rule)]

    def score(rule: _Rule) -> tuple[int, bool, bool]:
        image_keys = Counter(key for key in map(rule.image_key, image_stems) if key)
        label_keys = Counter(key for key in map(rule.label_key, label_stems) if key)
        # images and labels may lie in one folder: then "a_mask" would pair with itself
        says_label = _has_label_word(rule) and not (rule.image_prefix or rule.image_suffix)
        return len(set(image_keys) & set(label_keys)), says_label, rule == exact

    return max(candidates, key=score)


def _affix_rules(image_stems: list[str], label_stems: list[str]) -> list[_Rule]:
    """Find what some label names have before or after an image's name, most frequent first."""
    known = set(image_stems)
    found: Counter[_Rule] = Counter()
    for stem in label_stems:
        for cut in range(1, min(len(stem), MAX_AFFIX + 1)):
            if stem[:-cut] in known and _is_affix(stem[-cut:], stem[-cut]):
                found[_Rule(label_suffix=stem[-cut:])] += 1
            if stem[cut:] in known and _is_affix(stem[:cut], stem[cut - 1]):
                found[_Rule(label_prefix=stem[:cut])] += 1
    return [rule for rule, _ in found.most_common(20)]


def _is_affix(text: str, edge: str) -> bool:
    """An affix has a letter and is set off by a separator, or is a word for labels; "img1" + "0" is none."""
    if text.lower() in LABEL_WORDS:
        return True
    return edge in SEPARATORS and any(letter.isalpha() for letter in text)


def _is_plausible(rule: _Rule) -> bool:
    """Names that differ on both sides match when the label's part says so: img_7, mask_7; not ann_7, bo_7."""
    if not (rule.image_prefix or rule.image_suffix):
        return False
    bare = not (rule.label_prefix or rule.label_suffix)
    return bare or _has_label_word(rule)


def _has_label_word(rule: _Rule) -> bool:
    words = re.split(r"[_\-. 0-9]+", f"{rule.label_prefix} {rule.label_suffix}".lower())
    return any(word in LABEL_WORDS for word in words)


def _common_affixes(stems: Iterable[str]) -> tuple[str, str]:
    """Return what all names begin and end with, cut back so that no number is torn apart."""
    unique = sorted(set(stems))
    if len(unique) < 2:
        return "", ""
    prefix = _cut_back(_common_prefix(unique), unique)
    reverse = [stem[::-1] for stem in unique]
    suffix = _common_prefix(reverse)[::-1]
    channel = re.search(r"_0\d{3}$", suffix)  # nnU-Net's channel number
    suffix = channel.group() if channel else _cut_back(suffix[::-1], reverse)[::-1]
    shortest = min(len(stem) for stem in unique)
    return (prefix, suffix) if len(prefix) + len(suffix) < shortest else ("", "")


def _cut_back(prefix: str, stems: list[str]) -> str:
    """Shorten a common beginning until it ends at a separator or just before a number."""
    prefix = prefix.rstrip("0123456789")
    while prefix and prefix[-1] not in SEPARATORS:
        if all(stem[len(prefix) : len(prefix) + 1].isdigit() for stem in stems):
            break
        prefix = prefix[:-1]
    return prefix


def _common_prefix(texts: list[str]) -> str:
    first, last = min(texts), max(texts)
    count = 0
    while count < min(len(first), len(last)) and first[count] == last[count]:
        count += 1
    return first[:count]


def _without(stem: str, prefix: str, suffix: str) -> str | None:
    if len(stem) <= len(prefix) + len(suffix) or not (stem.startswith(prefix) and stem.endswith(suffix)):
        return None
    return stem[len(prefix) : len(stem) - len(suffix)]


def _group(stems: list[str], key_of: Callable[[str], str | None]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for number, stem in enumerate(stems):
        key = key_of(stem)
        if key is not None:
            groups[key].append(number)
    return groups


def _parent(name: str | PurePath) -> str:
    parts = re.split(r"[/\\]", str(name))
    return parts[-2] if len(parts) > 1 else ""


def _parents_differ(names: Sequence[str]) -> bool:
    parents = [_parent(name) for name in names]
    return all(parents) and len(set(parents)) == len(parents)
