"""Refusals of the HTTP API: problem details as RFC 9457 has them, `application/problem+json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import msgspec

from turnout.errors import BackendError, DefinitionError, NotFound, Overloaded, StepError, UserError
from turnout.interfaces.service import Response

__all__ = ["PROBLEM_TYPE", "TITLES", "Problem", "ProblemError", "problem_of", "problem_response"]

PROBLEM_TYPE: Final = "application/problem+json"

TITLES: Final[Mapping[int, str]] = {
    400: "The request cannot be read",
    401: "An API key is needed",
    403: "This is not allowed",
    404: "There is no such thing",
    409: "This cannot be done as things are",
    412: "It has changed meanwhile",
    413: "The body is too large",
    415: "The body is not JSON",
    429: "Too many requests",
    503: "A store does not answer",
}
_NAMES: Final = {
    400: "bad-request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not-found",
    409: "conflict",
    412: "changed",
    413: "too-large",
    415: "not-json",
    429: "slow-down",
    503: "unavailable",
}


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One of several faults: of a definition with its place."""

    detail: str
    file: str = ""
    line: int = 0
    column: int = 0


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a request was refused."""

    type: Annotated[str, msgspec.Meta(description="A name for this kind of problem that does not change.")]
    title: Annotated[str, msgspec.Meta(description="The same for every problem of the type.")]
    status: int
    detail: Annotated[str, msgspec.Meta(description="What is wrong with this request, and what to do.")]
    faults: Annotated[list[Fault], msgspec.Meta(description="Each fault, where there can be several.")] = []


class ProblemError(Exception):
    """Ends a request: `status`, and `detail` for whoever sent it."""

    def __init__(
        self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, faults: Sequence[str] = ()
    ) -> None:
        self.status, self.detail, self.headers = status, detail, headers or {}
        self.faults = tuple(Fault(detail=fault) for fault in faults)
        super().__init__(detail)


def problem_response(
    status: int, detail: str, *, headers: Mapping[str, str] | None = None, faults: tuple[Fault, ...] = ()
) -> Response:
    """The answer that refuses."""
    problem = Problem(
        type=f"urn:turnout:problem:{_NAMES[status]}",
        title=TITLES[status],
        status=status,
        detail=detail,
        faults=list(faults),
    )
    return Response(
        status=status, headers={"content-type": PROBLEM_TYPE, **(headers or {})}, body=msgspec.json.encode(problem)
    )


def problem_of(error: Exception) -> Response:
    """The answer for an error of ours. What a store says of its trouble is for who runs it, not for who asks."""
    match error:
        case ProblemError():
            return problem_response(error.status, error.detail, headers=error.headers, faults=error.faults)
        case NotFound():
            # Without its hint, which names what is near: whoever guesses is told nothing, and hints are for the command line.
            return problem_response(404, f"no {error.kind} {error.name!r}")
        case DefinitionError():
            faults = tuple(
                Fault(detail=one.message, file=one.file, line=one.line, column=one.column) for one in error.problems
            )
            return problem_response(400, str(error), faults=faults)
        case UserError() | StepError():
            return problem_response(409, str(error))
        case Overloaded():
            return problem_response(429, str(error), headers={"retry-after": f"{max(1.0, error.retry_after_s):.0f}"})
        case BackendError():
            detail = f"not done, or not known to be: look, and try again ({type(error).__name__})"
            return problem_response(503, detail, headers={"retry-after": "1"})
        case _:
            raise error
