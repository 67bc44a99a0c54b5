"""Bedrock: a request is signed for the host it goes to, so what a client signed for the gateway is signed anew.

The credentials are the gateway's: an access key and secret (`ID:SECRET`), a Bedrock API key, or what botocore finds
where the gateway runs (a profile, the environment, a role). What the client signed with says only who it is.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from typing import Any, Final

from outlay.errors import AccessDenied, MissingExtra
from outlay.faces.gateway.headers import Headers
from outlay.faces.gateway.upstreams import Upstream

SERVICE: Final = "bedrock"
SIGNING: Final = (b"authorization", b"x-amz-date", b"x-amz-security-token", b"x-amz-content-sha256")
"""The headers of a signature."""

_lock = threading.Lock()
_found: dict[str, Any] = {}


async def signed(
    upstream: Upstream, method: str, line: bytes, headers: Headers, content: bytes, secret: bytes
) -> Headers:
    """The headers with a signature of the gateway's. `secret` is a key that is kept, empty for botocore's own.

    Raises AccessDenied `no_aws_credentials`, MissingExtra.
    """
    kept = [one for one in headers if one[0] not in SIGNING]
    if secret and b":" not in secret:
        return [*kept, (b"authorization", b"Bearer " + secret)]
    return kept + await asyncio.to_thread(_signature, upstream, method, line, headers, content, secret)


def _signature(
    upstream: Upstream, method: str, line: bytes, headers: Headers, content: bytes, secret: bytes
) -> Headers:
    auth, awsrequest = _module("botocore.auth"), _module("botocore.awsrequest")
    told = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers if name == b"content-type"}
    scheme = "https" if upstream.tls else "http"
    url = f"{scheme}://{upstream.authority.decode()}{line.decode('latin-1')}"
    request = awsrequest.AWSRequest(method=method, url=url, data=content, headers=told)
    auth.SigV4Auth(_credentials(secret), SERVICE, upstream.region).add_auth(request)
    return [
        (low.encode(), str(value).encode("latin-1"))
        for name, value in request.headers.items()
        if (low := name.lower()).encode() in SIGNING
    ]


def _credentials(secret: bytes) -> Any:
    if secret:
        id, _, rest = secret.decode().partition(":")
        hidden, _, token = rest.partition(":")
        return _module("botocore.credentials").Credentials(id, hidden, token or None)
    with _lock:
        if "chain" not in _found:
            _found["chain"] = _module("botocore.session").Session().get_credentials()
        chain = _found["chain"]
    if chain is None:
        raise AccessDenied(
            "the gateway has no AWS credentials; give it a role, a profile, or a key in its configuration",
            code="no_aws_credentials",
        )
    return chain.get_frozen_credentials()


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra("signing for Bedrock needs botocore: pip install 'outlay[aws]'") from error
