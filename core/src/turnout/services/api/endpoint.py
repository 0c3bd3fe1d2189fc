"""What an endpoint of the HTTP API is: a row of the table that makes the routes and the OpenAPI document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import msgspec

from turnout.services.api.parts import Parts
from turnout.services.api.problems import ProblemError
from turnout.services.api_keys import Principal, Role

__all__ = ["BODY_BYTES", "PREFIX", "Answer", "Call", "Endpoint", "Nothing"]

PREFIX = "/api/v1"

BODY_BYTES: Final = 1000 * 1000
"""What most requests' bodies may have: values are small here; what is large goes through webhooks."""

Q = TypeVar("Q")
B = TypeVar("B")


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Takes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[Q, B]):
    """A request that was let in: who asks, the parameters of the path, the query and the body, read and checked.

    `expected` is the revision that the sender has seen (`If-Match`); None where it said none.
    """

    principal: Principal
    path: Mapping[str, str]
    query: Q
    body: B
    expected: int | None = None

    def customer(self) -> str:
        """The customer that the path names. 404 for a key that has nothing to do with it: it does not learn that there is
        such a customer."""
        name = self.path["customer"]
        if not self.principal.sees(name):
            raise ProblemError(404, f"no customer {name!r}")
        return name

    def only(self, asked: str | None) -> str | None:
        """The customer to look for where `asked` filters: a customer's key looks for its own, whatever it asks. None: all.
        Whoever asks for another's gets what there is for a customer that does not exist: nothing."""
        return asked if self.principal.customer is None else self.principal.customer


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`body` becomes JSON; None: there is none. `revision` becomes the ETag, with what else the body `depends` on: a change
    of that makes another answer, but not another thing for `If-Match`."""

    body: Any = None
    status: int = 200
    revision: int | None = None
    depends: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(Generic[Q, B]):
    """`path` begins behind `/api/v1`. `statuses` are those of success, each with `answer` for a body (None: no body);
    `refusals` those of failure beyond what every endpoint may answer.

    `role` is what a key needs; `organisation` keeps customers' keys out; `public` needs no key. `conditional` means that answers
    have an ETag, and that `If-Match` is obeyed. `body_bytes` is what a body may have.
    """

    method: str
    path: str
    name: str
    summary: str
    handle: Callable[[Parts, Call[Q, B]], Awaitable[Answer]]
    answer: Any = None
    statuses: tuple[int, ...] = (200,)
    refusals: tuple[int, ...] = ()
    query: type[Q] = Nothing  # type: ignore[assignment]
    body: type[B] = Nothing  # type: ignore[assignment]
    body_bytes: int = BODY_BYTES
    role: Role = Role.READ
    organisation: bool = False
    public: bool = False
    conditional: bool = False
    tag: str = ""
    description: str = ""
