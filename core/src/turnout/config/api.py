"""Who may use the HTTP API: `[api]`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from turnout.config.readers import one_of, texts
from turnout.config.shapes import Section, leaf

__all__ = ["API", "ApiSettings", "Authentication"]


class Authentication(StrEnum):
    """When a key is needed: always, never, or always but for `turnout dev` that listens on this machine alone."""

    KEYS = "keys"
    OUTSIDE_DEV = "outside-dev"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """`hosts` are names, beside this machine's own and that of `project.url`, under which it answers where no key is needed."""

    authentication: Authentication = Authentication.OUTSIDE_DEV
    hosts: tuple[str, ...] = ()


API = Section(
    make=ApiSettings,
    keys={
        "authentication": leaf(
            "authentication",
            one_of({one.value: one for one in Authentication}),
            "`keys`: every request to `/api` needs an API key. `none`: none does, what is in front keeps strangers out. "
            "`outside-dev`: as `keys`, but `turnout dev` on this machine alone needs none.",
        ),
        "hosts": leaf(
            "hosts",
            texts,
            "Names under which the API is asked where no key is needed, beside this machine's own and that of `project.url`.",
        ),
    },
)
