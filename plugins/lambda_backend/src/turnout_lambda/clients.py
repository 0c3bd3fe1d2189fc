"""The one place that makes clients of boto3 and calls them: off the event loop, errors translated, nothing secret in any of them.

Credentials come from where boto3 looks for them: the environment, a profile, the function's, the task's or the instance's
role. boto3 is loaded when the first client is made: a function's zip does not have it, its runtime does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field
from turnout.errors import BackendError, SettingsError

__all__ = ["AwsOptions", "CallFailed", "call", "called", "make_client"]

_CONNECT_S: Final = 5
_READ_S: Final = 30
_ATTEMPTS: Final = 4
_CONNECTIONS: Final = 32


class AwsOptions(BaseModel):
    """What every service of AWS can be told in its table of `turnout.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    region: str | None = Field(default=None, min_length=1, description="The region; without it as boto3 finds it.")
    endpoint_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s/@]+(/\S*)?$",
        description="Where the service is, if not at AWS's own address: a VPC endpoint, or a stand-in.",
    )


class CallFailed(BackendError):
    """AWS refused or could not be reached; `code` is AWS's own word for it, empty where nothing answered."""

    def __init__(self, message: str, *, code: str = "") -> None:
        self.code = code
        super().__init__(message)


def make_client(service: str, options: AwsOptions, *, setting: str) -> Any:
    """A client of boto3, which threads may share. `SettingsError` names `setting`, the table, where no region is known."""
    import boto3  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]
    from botocore.exceptions import BotoCoreError, NoRegionError  # type: ignore[import-untyped]

    # At DEBUG it would write down each request and answer, customers' content among them.
    for name in ("boto3", "botocore", "urllib3"):
        if logging.getLogger(name).level < logging.INFO:
            logging.getLogger(name).setLevel(logging.INFO)
    config = Config(
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        max_pool_connections=_CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        user_agent_extra="turnout",
    )
    try:
        return boto3.session.Session().client(
            service, region_name=options.region, endpoint_url=options.endpoint_url, config=config
        )
    except NoRegionError:
        message = f"{setting}.region: it must be set, or AWS_REGION where Turnout is started"
        raise SettingsError(message, setting=f"{setting}.region") from None
    except (BotoCoreError, ValueError) as error:
        raise SettingsError(f"{setting}: no client of {service} can be made: {error}", setting=setting) from error


async def call(what: str, function: Callable[..., Any], **parameters: Any) -> Any:
    """What AWS answers, asked on a thread. `CallFailed` says `what` was asked, why not, and no parameter."""
    return await asyncio.to_thread(called, what, function, **parameters)


def called(what: str, function: Callable[..., Any], **parameters: Any) -> Any:
    """As `call`, on the thread of the caller."""
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
        code = str(error.response.get("Error", {}).get("Code", ""))
        said = str(error.response.get("Error", {}).get("Message", "")).strip()
        raise CallFailed(f"{what}: {code}{': ' if said else ''}{said}{_hint(code)}", code=code) from None
    except (NoCredentialsError, PartialCredentialsError) as error:
        message = (
            f"{what}: no credentials of AWS were found: give the function or task a role, or set AWS_ACCESS_KEY_ID and "
            f"its secret"
        )
        raise CallFailed(message) from error
    except ParamValidationError:
        # Its text shows parameters.
        raise CallFailed(f"{what}: AWS's own client refused what was given") from None
    except BotoCoreError as error:
        raise CallFailed(f"{what}: AWS cannot be reached: {error}") from error


def _hint(code: str) -> str:
    if code in ("AccessDenied", "AccessDeniedException", "403"):
        return " (the role that Turnout runs with needs that permission)"
    if code in ("ExpiredToken", "ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId"):
        return " (the credentials of AWS that were found do not hold)"
    return ""
