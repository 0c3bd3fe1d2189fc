"""Requests to a provider's token and revocation endpoints, sent by httpx; no other module of the service knows it.

Redirects are not followed: they would carry credentials elsewhere. What a provider says of a fault is shown only where it
holds none of what was sent.
"""

from __future__ import annotations

import asyncio
import email.utils
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from turnout.errors import BackendError
from turnout.interfaces.clock import Clock
from turnout.interfaces.oauth import Grant
from turnout.masking import Mask
from turnout.services.oauth.protocol import authenticated, revocation_body, token_body
from turnout.services.oauth.registration import Registration
from turnout.services.oauth.tokens import TokenSet

if TYPE_CHECKING:
    import httpx

__all__ = ["Refused", "TokenEndpoint", "Unavailable"]

_ANSWER_BYTES: Final = 256 * 1024
_LONGEST_WAIT_S: Final = 3600.0
_SHOWN: Final = 200
_SILENCE_S: Final = 30.0
_CODE: Final = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]{1,60}")
"""What an `error` may be made of (RFC 6749, 5.2)."""
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_PASSING: Final = frozenset({"temporarily_unavailable", "slow_down", "server_error"})


class Refused(BackendError):
    """The provider said no, and would again: `code` is its `error` (`invalid_grant`)."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class Unavailable(BackendError):
    """The provider did not answer, or asked us to come later: `retry_after_s`, where it says when; `limited` where it is
    because there were too many requests. Where it is `unknown` whether it did what we asked, its answer may be lost."""

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, limited: bool = False, unknown: bool = False
    ) -> None:
        self.retry_after_s = retry_after_s
        self.limited = limited
        self.unknown = unknown
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class TokenEndpoint:
    """Asks for tokens. `close` lets go of its connections."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._http: httpx.AsyncClient | None = None

    async def redeem(
        self, registration: Registration, *, code: str, verifier: str, redirect_uri: str, within_s: float
    ) -> TokenSet:
        """The tokens for an authorization code. `Refused`, `Unavailable`."""
        given = {"code": code, "code_verifier": verifier, "redirect_uri": redirect_uri}
        return await self._tokens(registration, Grant.AUTHORIZATION_CODE, given, within_s)

    async def renew(self, registration: Registration, refresh_token: str, *, within_s: float) -> TokenSet:
        """New tokens for a refresh token, which stays in the set where the provider gives no other."""
        tokens = await self._tokens(registration, "refresh_token", {"refresh_token": refresh_token}, within_s)
        return tokens if tokens.refresh_token else msgspec.structs.replace(tokens, refresh_token=refresh_token)

    async def claim(self, registration: Registration, *, within_s: float) -> TokenSet:
        """A token for the client itself."""
        given = {"scope": registration.provider.scope}
        return await self._tokens(registration, Grant.CLIENT_CREDENTIALS, given, within_s)

    async def revoke(self, registration: Registration, token: str, *, within_s: float) -> None:
        """End a token at the provider (RFC 7009); does nothing where the provider has no address for it."""
        url = registration.provider.revocation_url
        if not url:
            return
        answer = await self._post(registration, url, revocation_body(token), within_s)
        if answer.status >= 400:
            raise self._fault(registration, answer, (token,))

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def _tokens(
        self, registration: Registration, grant: str, given: Mapping[str, str], within_s: float
    ) -> TokenSet:
        provider = registration.provider
        asked = self._clock.now()
        body = token_body(registration, grant, given)
        answer = await self._post(registration, provider.token_url, body, within_s)
        found = _json(answer)
        secrets = tuple(given[name] for name in ("code", "code_verifier", "refresh_token") if name in given)
        if answer.status != 200 or "error" in found or not _is_token(found.get("access_token")):
            raise self._fault(registration, answer, secrets)
        return _token_set(found, asked)

    async def _post(self, registration: Registration, url: str, body: str, within_s: float) -> _Answer:
        import httpx  # what asks for no token need not load it

        if self._http is None:
            self._http = httpx.AsyncClient(
                follow_redirects=False, timeout=_SILENCE_S, limits=httpx.Limits(max_connections=20)
            )
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        headers, body = authenticated(registration, url, headers, body)
        try:
            async with (
                asyncio.timeout(within_s),
                self._http.stream("POST", url, headers=headers, content=body.encode()) as response,
            ):
                return await _read(response)
        except TimeoutError as error:
            raise Unavailable(f"{_place(url)} did not answer within {within_s:.0f} s", unknown=True) from error
        except httpx.HTTPError as error:
            unknown = not isinstance(error, httpx.ConnectError)
            raise Unavailable(f"{_place(url)} cannot be reached ({type(error).__name__})", unknown=unknown) from error

    def _fault(self, registration: Registration, answer: _Answer, secrets: tuple[str, ...]) -> BackendError:
        """What to make of an answer that is no token: its text is the provider's, so nothing secret may be left in it."""
        place, status = _place(registration.provider.token_url), answer.status
        found = _json(answer)
        code = str(found.get("error") or "")
        code = code if _CODE.fullmatch(code) else ""
        if status == 429 or status >= 500 or status in (408, 425) or code in _PASSING:
            after = _retry_after(answer.headers.get("retry-after", ""), self._clock.now())
            said = f" ({code})" if code else ""
            return Unavailable(f"{place} answered {status}{said}", retry_after_s=after, limited=status == 429)
        if not code:
            said = f"{place} answered {status} with something that is no OAuth 2.0 answer"
            return Unavailable(said, unknown=status < 300)
        return Refused(code, f"{place} says {_said(code, found, (*secrets, registration.secret.reveal()))}")


async def _read(response: httpx.Response) -> _Answer:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _ANSWER_BYTES:
            return _Answer(response.status_code, response.headers, b"")
    return _Answer(response.status_code, response.headers, bytes(body))


def _json(answer: _Answer) -> Mapping[str, Any]:
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
        return {}


def _is_token(given: object) -> bool:
    """Visible ASCII (RFC 6749, A.12): anything else could not be sent in a header."""
    return isinstance(given, str) and _TOKEN.fullmatch(given) is not None


def _token_set(found: Mapping[str, Any], asked: float) -> TokenSet:
    lifetime = found.get("expires_in")
    try:
        seconds = None if lifetime is None or isinstance(lifetime, bool) else float(lifetime)
    except (TypeError, ValueError):
        seconds = None
    refresh = found.get("refresh_token")
    scope = found.get("scope")
    return TokenSet(
        access_token=found["access_token"],
        refresh_token=refresh if isinstance(refresh, str) else "",
        scope=scope if isinstance(scope, str) else "",
        obtained_at=asked,
        expires_at=None if seconds is None or not 0 <= seconds < 1e10 else asked + seconds,
    )


def _retry_after(text: str, now: float) -> float | None:
    """Seconds, from either form (RFC 9110, 10.2.3), within an hour."""
    try:
        seconds = float(text) if text.strip().isdigit() else email.utils.parsedate_to_datetime(text).timestamp() - now
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), _LONGEST_WAIT_S)


def _said(code: str, found: Mapping[str, Any], secrets: tuple[str, ...]) -> str:
    text = str(found.get("error_description") or "")
    shown = Mask(tuple(secret for secret in secrets if secret)).text(text)
    plain = "".join(character if character.isprintable() else " " for character in shown)[:_SHOWN].strip()
    return f"{code} ({plain})" if plain else code


def _place(url: str) -> str:
    return url.partition("?")[0]
