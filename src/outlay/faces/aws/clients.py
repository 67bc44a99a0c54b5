"""The one place that holds boto3: calls by name, their errors made Outlay's."""

from __future__ import annotations

from typing import Any, Final

from outlay.errors import MissingExtra, OutlayError

_ATTEMPTS: Final = 3
_TIMEOUT_S: Final = 20


class CloudFailure(OutlayError):
    """AWS refused a call, or could not be reached."""

    code = "aws_error"


class Clients:
    """AWS by the credentials that boto3 finds: the environment, a profile, a role. Errors are CloudFailure."""

    def __init__(self, profile: str | None = None) -> None:
        """`profile` is one of ~/.aws. Raises MissingExtra without boto3, CloudFailure for an unknown profile."""
        try:
            import boto3
            import botocore.config
            import botocore.exceptions
        except ImportError as error:
            raise MissingExtra("this needs boto3: pip install 'outlay[aws]'") from error
        self._errors = botocore.exceptions
        self._config = botocore.config.Config(
            retries={"mode": "standard", "max_attempts": _ATTEMPTS},
            connect_timeout=_TIMEOUT_S,
            read_timeout=_TIMEOUT_S,
        )
        try:
            self._session = boto3.Session(profile_name=profile)
        except botocore.exceptions.BotoCoreError as error:
            raise CloudFailure(str(error), code="aws_credentials") from error
        self._made: dict[tuple[str, str], Any] = {}

    def call(
        self, service: str, region: str, operation: str, *, missing: tuple[str, ...] = (), **parameters: Any
    ) -> dict[str, Any] | None:
        """The answer of an operation by boto3's name of it; None where the error is one of `missing`.

        Raises CloudFailure `aws_error` with AWS' own code, `aws_credentials` or `aws_unreachable`.
        """
        try:
            client = self._client(service, region)
            answer: dict[str, Any] = getattr(client, operation)(**parameters)
        except self._errors.ClientError as error:
            told = error.response.get("Error", {})
            if told.get("Code") in missing:
                return None
            raise CloudFailure(
                f"{service} {operation} in {region}: {told.get('Code')}: {told.get('Message', '')[:300]}"
            ) from error
        except (self._errors.NoCredentialsError, self._errors.PartialCredentialsError) as error:
            raise CloudFailure(
                f"no credentials for AWS are found ({error}); set AWS_PROFILE or AWS_ACCESS_KEY_ID",
                code="aws_credentials",
            ) from error
        except self._errors.BotoCoreError as error:
            raise CloudFailure(f"{service} {operation} in {region}: {error}", code="aws_unreachable") from error
        return answer

    def all(
        self, service: str, region: str, operation: str, key: str, *, missing: tuple[str, ...] = (), **parameters: Any
    ) -> list[dict[str, Any]]:
        """What all pages of a list have under `key`."""
        found: list[dict[str, Any]] = []
        names = ("NextToken", "nextToken", "NextPageToken")
        while True:
            page = self.call(service, region, operation, missing=missing, **parameters)
            if page is None:
                return found
            found += page.get(key, [])
            name = next((each for each in names if page.get(each)), None)
            if name is None:
                return found
            parameters[name] = page[name]

    def account(self, region: str) -> str:
        """The number of the account that the credentials belong to."""
        answer = self.call("sts", region, "get_caller_identity")
        return str((answer or {})["Account"])

    def _client(self, service: str, region: str) -> Any:
        found = self._made.get((service, region))
        if found is None:
            found = self._session.client(service, region_name=region, config=self._config)
            self._made[(service, region)] = found
        return found
