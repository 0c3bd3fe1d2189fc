"""What a flow says about the requests that start it: how they are verified and how they are answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Answer", "Hook", "Respond", "Verify"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify:
    """A scheme by name, and what it takes. `fields` are the connection's fields with the secrets, where they are not the
    scheme's own. The rest describes a signature, for the scheme `hmac`; `header` is for `api_key` too, `tolerance_s` for any
    that signs a time."""

    scheme: str
    fields: tuple[str, ...] = ()
    header: str = ""
    algorithm: str = ""
    encoding: str = ""
    prefix: str = ""
    separator: str = ""
    signed: str = ""
    timestamp: str = ""
    timestamp_prefix: str = ""
    timestamp_unit: str = ""
    tolerance_s: float | None = None
    id: str = ""
    delivery: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Parts of an HTTP answer, each text perhaps with expressions; None is what it is without."""

    status: int | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Respond:
    """`answer` is given once the request is accepted, or, with `wait_s`, once its execution has succeeded; `failed` when it has
    not, and `late` when it has not ended in time. None: as without."""

    wait_s: float | None = None
    answer: Answer = field(default_factory=Answer)
    failed: Answer | None = None
    late: Answer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """`cors` are the origins whose pages may send it and read the answer (`*`: all). No `methods`: all that webhooks have."""

    verify: Verify | None = None
    respond: Respond | None = None
    cors: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
