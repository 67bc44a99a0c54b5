"""moto in server mode for what it does, and the small fake beside it for budgets and anomalies."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import botocore.loaders
import pytest
from moto.server import ThreadedMotoServer
from tests.fake_aws import REGION, FakeAws, fake_aws


@pytest.fixture(scope="session", autouse=True)
def models_read_once() -> Iterator[None]:
    """botocore's models of the services, megabytes of JSON, are read once and not by every client's session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.loaders, "create_loader", functools.cache(botocore.loaders.create_loader))
        yield


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def cloud(moto: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeAws]:
    """An empty AWS account that boto3 finds by the environment."""
    with urlopen(Request(f"{moto}/moto-api/reset", method="POST")):
        pass
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with fake_aws() as (address, fake):
        monkeypatch.setenv("AWS_ENDPOINT_URL_BUDGETS", address)
        monkeypatch.setenv("AWS_ENDPOINT_URL_COST_EXPLORER", address)
        yield fake
