"""The one place that makes clients of boto3 and calls them: off the event loop, errors translated, nothing secret in any of them.

Credentials come from where boto3 looks for them: the environment, a profile, the task's or the instance's role; a table may name a
profile, and a role that is taken on with them.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Final, LiteralString

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError
from turnout.errors import BackendError, SettingsError

__all__ = ["AwsOptions", "CallFailed", "NoCredentials", "call", "connect_client", "make_client", "shaped"]

_CONNECT_S: Final = 5
_READ_S: Final = 15
_ATTEMPTS: Final = 3
_ROLE: Final = r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+"
_SAID: Final = 300
_LONGEST_WAIT_S: Final = 300.0
_THROTTLED: Final = frozenset(
    {
        "KMSThrottling",
        "KMSThrottlingException",
        "LimitExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttled",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "TooManyRequestsException",
    }
)
_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "AuthorizationError", "NotAuthorized"})
_STRANGERS: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidSecurity",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "OptInRequired",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)


def shaped(pattern: str, expected: LiteralString) -> AfterValidator:
    """Of an option's text: a fault says what is `expected`, and not which pattern."""

    def check(given: str) -> str:
        if not re.fullmatch(pattern, given):
            raise PydanticCustomError("shape", expected)
        return given

    return AfterValidator(check)


class AwsOptions(BaseModel):
    """What every service of AWS can be told in its table of `turnout.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    region: Annotated[str, shaped(r"[a-z]{2,4}(-[a-z]+)+-\d{1,2}", 'a region is expected, "eu-central-1"')] | None = (
        Field(default=None, description="The region, `eu-central-1`; without it as boto3 finds it.")
    )
    endpoint_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s/@]+(/\S*)?$",
        description="Where the service is, if not at AWS's own address: a VPC endpoint, or a stand-in.",
    )
    profile: str | None = Field(
        default=None, min_length=1, description="A profile of AWS's own files, whose credentials and region are taken."
    )
    role: (
        Annotated[str, shaped(_ROLE, 'a role\'s ARN is expected, "arn:aws:iam::123456789012:role/turnout"')] | None
    ) = Field(
        default=None, description="A role that is taken on for this alone, `arn:aws:iam::123456789012:role/turnout`."
    )


class CallFailed(BackendError):
    """AWS refused or could not be reached; `code` is AWS's own word for it, empty where nothing answered. `retry_after_s` is what
    it asks for, where it asks for something."""

    def __init__(self, message: str, *, code: str = "", retry_after_s: float | None = None) -> None:
        self.code = code
        self.retry_after_s = retry_after_s
        super().__init__(message)

    @property
    def throttled(self) -> bool:
        """Whether the same will be taken later, if fewer ask."""
        return self.code in _THROTTLED

    @property
    def unauthorised(self) -> bool:
        """Whether who asks is not known, or may not."""
        return self.code in _DENIED or self.code in _STRANGERS


class NoCredentials(CallFailed):
    """Nobody was asked: there is nothing to sign a request with."""

    @property
    def unauthorised(self) -> bool:
        return True


async def connect_client(service: str, options: AwsOptions, *, setting: str, attempts: int = _ATTEMPTS) -> Any:
    """As `make_client`, off the event loop: boto3 is loaded, and it reads large files."""
    return await asyncio.to_thread(make_client, service, options, setting=setting, attempts=attempts)


def make_client(service: str, options: AwsOptions, *, setting: str, attempts: int = _ATTEMPTS) -> Any:
    """A client of boto3, which threads may share; it asks so many times before it gives up, which takes 20 s each at most.
    `SettingsError` names `setting`, the table, where no region is known or the profile is not there."""
    import boto3  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]
    from botocore.exceptions import BotoCoreError, NoRegionError, ProfileNotFound  # type: ignore[import-untyped]

    from turnout_aws.roles import session_of

    # At DEBUG it would write down each request and answer, keys and secrets among them.
    for name in ("boto3", "botocore", "urllib3"):
        if logging.getLogger(name).level < logging.INFO:
            logging.getLogger(name).setLevel(logging.INFO)
    config = Config(
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        retries={"mode": "standard", "total_max_attempts": attempts},
        user_agent_extra="turnout",
    )
    try:
        session = session_of(profile=options.profile, role=options.role, region=options.region)
        return boto3.session.Session(botocore_session=session).client(
            service, region_name=options.region, endpoint_url=options.endpoint_url, config=config
        )
    except ProfileNotFound:
        message = f"{setting}.profile: AWS's own files have no profile of that name"
        raise SettingsError(message, setting=f"{setting}.profile") from None
    except NoRegionError:
        message = f"{setting}.region: it must be set, or AWS_REGION where Turnout is started"
        raise SettingsError(message, setting=f"{setting}.region") from None
    except (BotoCoreError, ValueError) as error:
        raise SettingsError(f"{setting}: no client of {service} can be made: {error}", setting=setting) from error


async def call(what: str, function: Callable[..., Any], **parameters: Any) -> Any:
    """What AWS answers, asked on a thread. `CallFailed` says `what` was asked, why not, and no parameter."""
    return await asyncio.to_thread(_called, what, function, parameters)


def _called(what: str, function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        ParamValidationError,
        PartialCredentialsError,
    )

    try:
        return function(**parameters)
    except ClientError as error:
        raise _refusal(what, error.response) from None
    except (NoCredentialsError, PartialCredentialsError) as error:
        message = (
            f"{what}: no credentials of AWS were found: give the task a role, set AWS_ACCESS_KEY_ID and its secret, "
            "or name a `profile`"
        )
        raise NoCredentials(message) from error
    except ParamValidationError:
        # Its text shows parameters.
        raise CallFailed(f"{what}: AWS's own client refused what was given") from None
    except BotoCoreError as error:
        raise CallFailed(f"{what}: AWS cannot be reached: {error}") from error


def _refusal(what: str, response: Any) -> CallFailed:
    """What AWS says, on its first line: below stands what was signed, a session's token among it."""
    told = response.get("Error", {})
    code, said = str(told.get("Code", "")), str(told.get("Message", "")).strip().partition("\n")[0][:_SAID]
    after = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("retry-after", "")
    text = f"{what}: {code}{': ' if said else ''}{said}{_hint(code)}"
    return CallFailed(text, code=code, retry_after_s=_wait(after))


def _wait(given: str) -> float | None:
    with suppress(ValueError):
        wait_s = float(given)
        return None if math.isnan(wait_s) else min(max(wait_s, 0.0), _LONGEST_WAIT_S)
    return None


def _hint(code: str) -> str:
    if code in _DENIED:
        return " (the role that Turnout runs with needs that permission)"
    if code in _STRANGERS:
        return " (the credentials of AWS that were found do not hold)"
    return ""
