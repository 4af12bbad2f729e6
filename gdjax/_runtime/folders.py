"""Folders of the user."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return gdjax's folder in the user's cache, for decoded data and programs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gdjax"
