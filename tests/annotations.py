"""Mark for tests of errors that checks of annotations would raise first."""

import os

import pytest

skip_with_annotations = pytest.mark.skipif(
    bool(os.environ.get("CHECK_ANNOTATIONS")), reason="errors of gdjax, not of its annotations"
)
