"""A page as one writes it without a viewer: a slider, and the slice as ``st.image``; served beside Sightline."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from tests.browser.conftest import START_SECONDS, free_port, kill_group

SCRIPT = """
import numpy as np
import streamlit as st

volume = np.load({path!r}, mmap_mode="r")
index = st.slider("Slice", 0, len(volume) - 1, len(volume) // 2)
grey = np.clip((volume[index].astype(np.float32) + 160) / 400 * 255, 0, 255).astype(np.uint8)
st.image(grey)
"""


@contextmanager
def slider_server(volume: np.ndarray, folder: Path) -> Iterator[str]:
    """Serve the page for a volume of shape (z, y, x); yields its address."""
    data, script = folder / "volume.npy", folder / "slider.py"
    np.save(data, volume)
    script.write_text(SCRIPT.format(path=str(data)), encoding="utf-8")
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port)]
    command += ["--server.headless", "true", "--browser.gatherUsageStats", "false"]
    with open(folder / "slider.log", "wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=log,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    until = time.monotonic() + START_SECONDS
    try:
        while time.monotonic() < until:
            with suppress(OSError), urllib.request.urlopen(f"{url}/_stcore/health", timeout=2):  # noqa: S310
                break
            time.sleep(0.2)
        yield url
    finally:
        kill_group(process)
