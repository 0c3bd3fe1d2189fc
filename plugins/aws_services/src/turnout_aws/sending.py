"""A message to a service of AWS, once: what its refusal means for a channel, whose outbox tries again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from turnout.errors import Overloaded, SettingsError, TurnoutError, Undeliverable

from turnout_aws.clients import CallFailed, NoCredentials, call

__all__ = ["Refused", "send"]

Refused = Callable[[CallFailed], type[SettingsError] | type[Undeliverable] | None]
"""Whether what was set up is to blame for a refusal, or the message; None if neither, or not for long."""

_THROTTLED_S: Final = 60.0
_QUOTA_S: Final = 600.0


async def send(what: str, refused: Refused, function: Callable[..., Any], **parameters: Any) -> str:
    """The id that AWS gives the message. Errors as `Notifier.send` has them."""
    try:
        answer = await call(what, function, **parameters)
    except CallFailed as error:
        raise _failure(error, refused) from None
    return str(answer.get("MessageId", ""))


def _failure(error: CallFailed, refused: Refused) -> TurnoutError:
    if error.throttled or error.retry_after_s is not None:
        # SES: "wait for an interval of up to 10 minutes", which a day's quota needs and a second's does not.
        wait_s = _QUOTA_S if "quota" in str(error).lower() else _THROTTLED_S
        return Overloaded(str(error), retry_after_s=error.retry_after_s or wait_s)
    if isinstance(error, NoCredentials) or error.unauthorised:
        return SettingsError(str(error))
    kind = refused(error)
    return error if kind is None else kind(str(error))
