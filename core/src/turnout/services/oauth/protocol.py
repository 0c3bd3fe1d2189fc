"""What OAuth 2.0 requests look like, made by Authlib: the one module that knows it. It is loaded when a request is made."""

from __future__ import annotations

from collections.abc import Mapping

from turnout.errors import SettingsError
from turnout.services.oauth.registration import Registration

__all__ = ["authenticated", "authorization_url", "revocation_body", "token_body"]


def authorization_url(registration: Registration, *, redirect_uri: str, state: str, verifier: str) -> str:
    """Where a browser is sent to (RFC 6749, 4.1.1), with a challenge for the verifier (RFC 7636, S256)."""
    from authlib.oauth2.rfc6749.parameters import prepare_grant_uri  # type: ignore[import-untyped]  # it ships no types
    from authlib.oauth2.rfc7636 import create_s256_code_challenge  # type: ignore[import-untyped]

    provider = registration.provider
    given = dict(provider.authorize)
    if provider.pkce:
        given |= {"code_challenge": create_s256_code_challenge(verifier), "code_challenge_method": "S256"}
    url: str = prepare_grant_uri(
        provider.authorization_url,
        registration.client_id,
        "code",
        redirect_uri=redirect_uri,
        scope=provider.scope,
        state=state,
        **given,
    )
    return url


def token_body(registration: Registration, grant: str, given: Mapping[str, str]) -> str:
    """A request for a token; parameters without a value are left out."""
    from authlib.oauth2.rfc6749.parameters import prepare_token_request

    body: str = prepare_token_request(grant, "", **{**registration.provider.token, **given})
    return body


def revocation_body(token: str) -> str:
    """RFC 7009, 2.1."""
    from authlib.oauth2.rfc7009 import prepare_revoke_token_request  # type: ignore[import-untyped]

    body: str = prepare_revoke_token_request(token)[0]
    return body


def authenticated(
    registration: Registration, url: str, headers: dict[str, str], body: str
) -> tuple[dict[str, str], str]:
    """Headers and body with what proves who the client is. `SettingsError` if its id or secret cannot be sent."""
    from authlib.oauth2.auth import ClientAuth  # type: ignore[import-untyped]

    method = registration.provider.authentication
    client = ClientAuth(registration.client_id, registration.secret.reveal(), method.value)
    try:
        _, headers, body = client.prepare("POST", url, headers, body)
    except UnicodeEncodeError:
        raise SettingsError("an OAuth 2.0 client's id and secret have characters of Latin-1 alone") from None
    return headers, body
