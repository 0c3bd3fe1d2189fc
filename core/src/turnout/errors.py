"""Every error that Turnout raises on purpose, in one tree.

    TurnoutError
    ├── UserError                 what a person wrote or asked for is wrong; exit status 2
    │   ├── DefinitionError       a definition does not hold: one `Problem` a fault, with file, line, column
    │   ├── SettingsError         a setting, config value or connection is wrong or missing
    │   ├── NotFound              no execution, flow, version, plugin of that name
    │   └── Changed               somebody else changed it since it was looked at
    ├── Unauthenticated           who asks has not proved who it is
    ├── PluginError               a plugin cannot be loaded or breaks its contract
    ├── Unsupported               the chosen implementation does not declare the capability
    ├── BackendError              a queue, store or sandbox cannot do its work (disk full, connection lost)
    │   ├── Fenced                somebody with a newer token owns the execution: stop, write nothing
    │   ├── Overloaded            the sender must slow down: a cap of the backend is reached
    │   │   └── Paused            nothing is taken in for the instance now: a person paused it
    │   ├── PayloadMissing        the payload store does not hold that content
    │   └── Undeliverable         a channel refuses a message, and would again
    └── StepError                 a step failed: kind, message, and the customer's own stack where there is one
        ├── StepTimeout           its time-out, or its flow's, passed
        ├── StepParked            after a crash it is not known whether the effect happened: a person decides
        └── ExpressionError       an expression could not be evaluated

Offending values are attributes. A message says which step, setting or file it is about and what to do.
Only the command line turns errors into text and exit statuses. Imports the standard library alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "BackendError",
    "Changed",
    "DefinitionError",
    "ExpressionError",
    "Fenced",
    "NotFound",
    "Overloaded",
    "Paused",
    "PayloadMissing",
    "PluginError",
    "Problem",
    "SettingsError",
    "StepError",
    "StepParked",
    "StepTimeout",
    "TurnoutError",
    "Unauthenticated",
    "Undeliverable",
    "Unsupported",
    "UserError",
]


class TurnoutError(Exception):
    """The root: catch it to catch everything that Turnout raises on purpose."""


class UserError(TurnoutError):
    """What a person wrote or asked for is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One fault in a definition: where it is and what to do. Lines and columns count from 1."""

    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    hint: str = ""
    severity: str = "error"

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        text = f"{place}: {self.message}" if place else self.message
        return f"{text} ({self.hint})" if self.hint else text


class DefinitionError(UserError):
    """A definition does not hold. `problems` has every fault found, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SettingsError(UserError):
    """A setting, config value or connection is wrong or missing; `setting` names it. `faults` has each where there are several."""

    def __init__(self, message: str, *, setting: str = "", faults: Sequence[str] = ()) -> None:
        self.setting = setting
        self.faults = tuple(faults)
        super().__init__(message)


class NotFound(UserError):
    """Nothing of that name: `kind` is what was looked for, `name` what it was called."""

    def __init__(self, kind: str, name: str, *, hint: str = "") -> None:
        self.kind, self.name = kind, name
        super().__init__(f"no {kind} {name!r}" + (f": {hint}" if hint else ""))


class Changed(UserError):
    """Somebody else changed it since it was looked at: nothing was written."""


class Unauthenticated(TurnoutError):
    """Who asks has not proved who it is. The message may be told to a stranger: it holds no secret, and nothing that helps to
    make a proof up."""


class PluginError(TurnoutError):
    """A plugin cannot be loaded or breaks its contract; `distribution` is what to reinstall or remove."""

    def __init__(self, message: str, *, distribution: str = "") -> None:
        self.distribution = distribution
        super().__init__(message)


class Unsupported(TurnoutError):
    """The implementation does not declare `capability`."""

    def __init__(self, implementation: str, capability: str) -> None:
        self.implementation, self.capability = implementation, capability
        super().__init__(f"{implementation} does not support {capability!r}")


class BackendError(TurnoutError):
    """A queue, store or sandbox cannot do its work."""


class Fenced(BackendError):
    """Another worker owns the execution now: the caller must stop and write nothing more."""

    def __init__(self, execution: str, *, token: int, current: int) -> None:
        self.execution, self.token, self.current = execution, token, current
        super().__init__(f"execution {execution}: token {token} is behind {current}; another worker owns it")


class Overloaded(BackendError):
    """A cap of the backend is reached; `retry_after_s` says when to try again."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class Paused(Overloaded):
    """A person paused the instance, suspended its customer, or is deleting it: nothing is taken in for it now."""


class PayloadMissing(BackendError):
    """The payload store does not hold the content of `sha256`."""

    def __init__(self, sha256: str) -> None:
        self.sha256 = sha256
        super().__init__(f"no payload with content hash {sha256}: it was removed by retention or never written")


class Undeliverable(BackendError):
    """The other side refuses this message, and would again: there is no use in trying once more."""


class StepError(TurnoutError):
    """A step failed.

    `kind` is a short, stable name that `retry.errors` and `on_error` match on (`timeout`, `http_503`,
    `TypeError`); `stack` is the customer's own stack for code steps; `retry_after_s` is what the other
    side asked for; `retryable` is False where trying again cannot help; `details` is JSON-like data for people.
    """

    kind = "error"

    def __init__(
        self,
        message: str,
        *,
        kind: str | None = None,
        stack: str = "",
        retryable: bool = True,
        retry_after_s: float | None = None,
        details: object = None,
    ) -> None:
        self.kind = kind or type(self).kind
        self.message = message
        self.stack = stack
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.details = details
        super().__init__(message)


class StepTimeout(StepError):
    """The time-out of the step or of its flow passed."""

    kind = "timeout"


class StepParked(StepError):
    """It is not known whether the effect happened before a crash; it is not repeated blindly."""

    kind = "parked"


class ExpressionError(StepError):
    """An expression cannot be read or evaluated; `expression` is its text.

    `reason` says on one line what is wrong and `hint` what to do. `offset` counts characters from the start of the
    text that the expression stands in, from 0; None where the fault has no place.
    """

    kind = "expression"

    def __init__(
        self, message: str, *, expression: str = "", reason: str = "", hint: str = "", offset: int | None = None
    ) -> None:
        self.expression = expression
        self.reason = reason or message
        self.hint = hint
        self.offset = offset
        super().__init__(message, retryable=False)
