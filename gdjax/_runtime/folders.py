"""Folders of the user."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the user's cache folder, for decoded data and compiled programs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gdjax"
