"""Placeholders become secrets on the way to the credential's own hosts, and secrets become placeholders on the way back."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

from turnout.errors import UserError
from turnout.interfaces.sandbox import Credential

from turnout_ecs.egress.errors import Refused
from turnout_ecs.egress.policy import Policy
from turnout_ecs.egress.rewriting import Rewriter

__all__ = ["Credentials", "Headers", "Swap"]

Headers = list[tuple[bytes, bytes]]
Written = Callable[[str], str]

_PLACEHOLDER: Final = re.compile(r"[A-Za-z0-9._~-]{16,256}", re.ASCII)
_SHORTEST_SCANNED: Final = 4
"""A shorter secret is part of too many other things to be looked for in an answer."""
_MOST_TOKENS: Final = 64


@dataclass(frozen=True, slots=True)
class _Held:
    credential: Credential
    policy: Policy


class Credentials:
    """Those of one job. `UserError` for a placeholder that could be mistaken for something else."""

    def __init__(self, credentials: Sequence[Credential]) -> None:
        for credential in credentials:
            if not _PLACEHOLDER.fullmatch(credential.placeholder) or not credential.secret:
                raise UserError(f"{credential.name or 'a credential'} has no secret, or a placeholder that is none")
        self._held = [_Held(credential, Policy(credential.hosts, ())) for credential in credentials]
        self._tokens: dict[bytes, bytes] = {}

    def swap(self, host: str, port: int) -> Swap:
        """What is to be replaced in a request to that host, and in its answer."""
        mine = [held.credential for held in self._held if held.policy.permits(host, port)]
        others = [held.credential for held in self._held if not held.policy.permits(host, port)]
        return Swap(mine, others, host, self._tokens)


class Swap:
    """For one request. Every method raises `Refused` for a placeholder that has no business at this host."""

    def __init__(
        self, mine: Sequence[Credential], others: Sequence[Credential], host: str, tokens: dict[bytes, bytes]
    ) -> None:
        self._mine = {credential.placeholder.encode(): credential for credential in mine}
        self._others = {credential.placeholder.encode(): credential for credential in others}
        self._host = host
        self._tokens = tokens

    @property
    def looks(self) -> bool:
        """Whether the request has to be looked through."""
        return bool(self._mine or self._others)

    @property
    def scans(self) -> bool:
        """Whether the answer has to be looked through."""
        return bool(self._mine)

    def target(self, target: bytes) -> bytes:
        """Path and query. Secrets stand in them percent-encoded."""
        return self._rewriter(lambda secret: quote(secret, safe="-._~:@")).whole(target)

    def header(self, name: bytes, value: bytes) -> bytes:
        """The value of a header, that of Basic authorization decoded."""
        replaced = self._rewriter(self._for_header).whole(value)
        scheme, _, token = value.partition(b" ")
        if name.lower() == b"authorization" and scheme.lower() == b"basic" and self.looks:
            return self._basic(scheme, token.strip()) or replaced
        return replaced

    def body(self, content_type: bytes) -> Rewriter:
        """For a body of that type: secrets are written as the type wants text written."""
        kind = content_type.split(b";")[0].strip().lower()
        if kind == b"application/x-www-form-urlencoded":
            return self._rewriter(quote_plus)
        if kind == b"application/json" or kind.endswith(b"+json"):
            return self._rewriter(lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1])
        if kind in {b"application/xml", b"text/xml"} or kind.endswith(b"+xml"):
            return self._rewriter(lambda secret: escape(secret, {'"': "&quot;", "'": "&apos;"}))
        return self._rewriter(lambda secret: secret)

    def none(self, why: str) -> Rewriter:
        """For a body in which nothing can be replaced: `Refused` for every placeholder."""
        return Rewriter(
            dict.fromkeys([*self._mine, *self._others], b""), lambda placeholder: self._refuse(placeholder, why)
        )

    def answer(self) -> Rewriter:
        """Puts placeholders where the answer has secrets: as they are, and as they are written in URLs, JSON and Basic tokens."""
        replacements = dict(self._tokens)
        for placeholder, credential in self._mine.items():
            for form in _forms(credential.secret):
                if len(form) >= _SHORTEST_SCANNED:
                    replacements[form] = placeholder
        return Rewriter(replacements)

    def _basic(self, scheme: bytes, token: bytes) -> bytes | None:
        try:
            plain = base64.b64decode(token + b"=" * (-len(token) % 4), validate=True)
        except (binascii.Error, ValueError):
            return None
        replaced = self._rewriter(lambda secret: secret).whole(plain)
        if replaced == plain:
            return None
        made = base64.b64encode(replaced)
        if len(self._tokens) < _MOST_TOKENS:
            self._tokens[made] = token
            self._tokens[made.rstrip(b"=")] = token.rstrip(b"=")
        return scheme + b" " + made

    def _for_header(self, secret: str) -> str:
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in secret):
            raise Refused("EINVAL", "a credential has characters that no header can have")
        return secret

    def _rewriter(self, written: Written) -> Rewriter:
        replacements = {
            placeholder: written(credential.secret).encode() for placeholder, credential in self._mine.items()
        }
        replacements |= dict.fromkeys(self._others, b"")
        return Rewriter(replacements, self._refuse_others)

    def _refuse(self, placeholder: bytes, why: str) -> None:
        self._refuse_others(placeholder)
        name = self._mine[placeholder].name or "a credential"
        raise Refused("EMSGSIZE", f"the placeholder of {name} is in a body that is {why}, where it is not replaced")

    def _refuse_others(self, placeholder: bytes) -> None:
        credential = self._others.get(placeholder)
        if credential is not None:
            own = ", ".join(credential.hosts) or "no host"
            raise Refused(
                "EACCES",
                f"the request to {self._host} carries the placeholder of {credential.name or 'a credential'}, "
                f"which stands for a secret only towards its own hosts: {own}",
            )


def _forms(secret: str) -> set[bytes]:
    plain = secret.encode()
    texts = {quote(secret, safe=""), quote(secret, safe="-._~:@"), quote(secret), quote_plus(secret)}
    texts |= {
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        json.dumps(secret)[1:-1].replace("/", "\\/"),
    }
    texts |= {escape(secret), escape(secret, {'"': "&quot;", "'": "&apos;"})}
    encoded = base64.b64encode(plain).rstrip(b"=")
    return {plain, encoded, *(text.encode() for text in texts)}
