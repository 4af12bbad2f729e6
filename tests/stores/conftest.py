"""Servers of object stores, one of each kind for all tests of a process."""

import pytest
import servers


@pytest.fixture(scope="session", params=["s3", "az"])
def server(request, tmp_path_factory):
    """An object store with an empty bucket; skipped where its server cannot be started."""
    if reason := servers.missing(request.param):
        pytest.skip(reason)
    with servers.serve(request.param, tmp_path_factory.mktemp(request.param)) as started:
        yield started
