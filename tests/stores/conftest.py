"""Fixture of object store servers, one of each kind per process."""

import pytest
import servers


@pytest.fixture(scope="session", params=["s3", "az"])
def server(request, tmp_path_factory):
    """Return an object store with an empty bucket."""
    with servers.serve(request.param, tmp_path_factory.mktemp(request.param)) as started:
        yield started
