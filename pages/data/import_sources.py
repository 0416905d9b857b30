"""Import, beside uploads: folders of the server, and which mask belongs to which image before anything is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from core.imaging.formats import ARCHIVE_SUFFIXES, is_volume_name
from core.imaging.walk import files_below
from core.jobs.import_folders import find_server_path, list_folders
from core.readings.match import MatchResult, match_by_stem
from core.settings import load_settings
from pages.shared.messages import escape
from pages.shared.progress import count_words
from pages.shared.staging import Staging

MAX_LISTED = 5000  # names of a folder that the preview looks at
SHOWN_PAIRS = 200
ALLOW = (
    "Only folders that the administrator allowed can be named (SIGHTLINE_IMPORT_FOLDERS): their files are read where "
    "they lie, nothing is uploaded."
)


@dataclass(frozen=True)
class ServerFolders:
    """Folders of the server that are to be read; None where none was chosen."""

    images: Path | None = None
    masks: Path | None = None


def pick_folders(kept: Staging) -> ServerFolders:
    """Offer the server's folders, where there are any.

    Raises:
        NotFound: when a name leads to no allowed folder.
    """
    settings = load_settings()
    if not settings.import_roots:
        return ServerFolders()
    choices = list_folders(settings)
    chosen: list[Path | None] = []
    with st.expander("Or name a folder of the server", expanded=not kept.files()):
        st.caption(ALLOW)
        for title, key in (("Folder of images", "images"), ("Folder of masks (optional)", "masks")):
            text = st.selectbox(
                title,
                choices,
                index=None,
                accept_new_options=True,
                placeholder="choose, or type a path below one of these",
                key=f"server_{key}_{kept.id}",
            )
            chosen.append(find_server_path(text, settings) if text else None)
    return ServerFolders(*chosen)


def show_match(kept: Staging, folders: ServerFolders) -> None:
    """Show which masks go to which images by their names, before anything is read."""
    images = [*(file.display for file in kept.files("images")), *_names_below(folders.images)]
    masks = [*(file.display for file in kept.files("masks")), *_names_below(folders.masks)]
    if not images or not masks:
        return
    packed = [name for name in (*images, *masks) if _is_packed(name)]
    if packed:
        st.caption(
            f"Names inside {escape(packed[0])} are matched when it is unpacked; masks that fit nothing are named then."
        )
        return
    match = match_by_stem(images, [Path(name) for name in masks])
    count = count_words(len(match.pairs), "mask finds its image", "masks find their images")
    st.markdown(f"**Masks by name**: {count} ({escape(match.rule)}).")
    if match.unmatched_labels:
        left = count_words(len(match.unmatched_labels), "mask fits", "masks fit")
        st.warning(f"{left} no image and will be left out.")
    with st.expander("Which mask goes to which image"):
        _match_table(match)


def _match_table(match: MatchResult) -> None:
    rows = [(image, str(mask)) for image, mask in match.pairs.items()]
    rows += [(image.name, f"none: {image.reason}") for image in match.unmatched_images]
    rows += [(f"none: {mask.reason}", mask.name) for mask in match.unmatched_labels]
    st.dataframe(
        {"image": [row[0] for row in rows[:SHOWN_PAIRS]], "mask": [row[1] for row in rows[:SHOWN_PAIRS]]},
        hide_index=True,
        alt="Which mask goes to which image",
    )
    if len(rows) > SHOWN_PAIRS:
        st.caption(f"The first {SHOWN_PAIRS} of {len(rows)} rows.")


def _names_below(path: Path | None) -> list[str]:
    """Return the names of the files below a path, as the import will show them."""
    if path is None:
        return []
    if path.is_file():
        return [path.name]
    names: list[str] = []
    for item in files_below(path):
        if isinstance(item, Path):
            names.append(f"{path.name}/{item.relative_to(path).as_posix()}")
        if len(names) >= MAX_LISTED:
            break
    return names


def _is_packed(name: str) -> bool:
    return name.lower().endswith(ARCHIVE_SUFFIXES) and not is_volume_name(name)
