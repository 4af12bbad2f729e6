"""Object stores on the loopback address: moto for `s3://`, Azurite for `az://`.

Both servers are installed from package registries: `moto[server]` is part of the environment, and
`npm install --prefix .servers azurite`, which `.ci/run` calls, installs Microsoft's server.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import Request, urlopen

import pytest

ROOT = Path(__file__).parents[2]
AZURITE = Path("node_modules", ".bin", "azurite-blob")
QUICK = {"max_retries": 1, "retry_timeout": timedelta(seconds=5)}
"""Limits on retries; by default, a refused connection is retried for three minutes."""


class Server(NamedTuple):
    """A running object store.

    Args:
        url: URL of an empty bucket or container.
        options: options of `gd.stores.locate`.
        process: the server process.
    """

    url: str
    options: dict[str, Any]
    process: subprocess.Popen


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(port: int, process: subprocess.Popen, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"the server exited with status {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError("the server does not answer")


@contextlib.contextmanager
def started(*command: str) -> Generator[subprocess.Popen]:
    """Start a server process, and kill it at the end of the context."""
    quiet = subprocess.DEVNULL
    environment = {**os.environ, "PYTHONWARNINGS": ""}
    with subprocess.Popen(command, stdout=quiet, stderr=quiet, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def serve(kind: str, folder: Path) -> Generator[Server]:
    """Start a server with one empty bucket, or skip the test if there is no server.

    Args:
        kind: "s3" or "az".
        folder: folder for the files of the server.
    """
    obstore = pytest.importorskip("obstore", reason="pip install gdjax[cloud]")
    from obstore.store import from_url

    if kind == "s3":
        pytest.importorskip("moto", reason="pip install 'moto[server]'")
    elif not (ROOT / ".servers" / AZURITE).exists() or not shutil.which("node"):
        pytest.skip("Azurite or Node.js is missing: npm install --prefix .servers azurite")
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    client = {"allow_http": True, "timeout": "20s"}
    if kind == "s3":
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        options = {
            "endpoint": endpoint,
            "access_key_id": "key",
            "secret_access_key": "secret",
            "region": "us-east-1",
        }
    else:
        azurite = str(ROOT / ".servers" / AZURITE)
        command = [azurite, "--inMemoryPersistence", "--silent", "--skipApiVersionCheck"]
        command += ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
        options = {"endpoint": f"{endpoint}/devstoreaccount1"}
        options |= {"account_name": "devstoreaccount1", "account_key": AZURITE_KEY}
    options |= {"client_options": client, "retry_config": QUICK}
    with started(*command) as process:
        wait_for(port, process)
        if kind == "s3":
            urlopen(Request(f"{endpoint}/bucket", method="PUT"), timeout=20).close()
        else:
            create_container(endpoint)
        obstore.put(from_url(f"{kind}://bucket", **options), "warm", b"")
        obstore.delete(from_url(f"{kind}://bucket", **options), "warm")
        yield Server(f"{kind}://bucket", options, process)


# The account key that Microsoft documents for all emulators.
AZURITE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


def create_container(endpoint: str) -> None:
    """Create the container with a signed request; obstore cannot create containers."""
    import base64
    import hashlib
    import hmac
    from email.utils import formatdate

    date, version = formatdate(usegmt=True), "2021-08-06"
    headers = f"x-ms-date:{date}\nx-ms-version:{version}\n"
    resource = "/devstoreaccount1/devstoreaccount1/bucket\nrestype:container"
    text = "PUT" + "\n" * 12 + headers + resource
    key = base64.b64decode(AZURITE_KEY)
    signature = base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()
    request = Request(
        f"{endpoint}/devstoreaccount1/bucket?restype=container",
        method="PUT",
        headers={
            "x-ms-date": date,
            "x-ms-version": version,
            "Authorization": f"SharedKey devstoreaccount1:{signature}",
        },
    )
    urlopen(request, timeout=20).close()
