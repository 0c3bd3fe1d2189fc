"""The pages that a customer's people see: small, without scripts, readable on a telephone, in the dark, and by a screen reader.

All text is escaped. Nothing is loaded from anywhere, nothing is sent anywhere but back to us, and no page is kept or framed.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from turnout.interfaces.service import Response

__all__ = ["connect_page", "connected_page", "leaving_page", "trouble_page"]

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --ground: #f2f4f7; --line: #d5dae1; --quiet: #57606a;
  --act: #0b5cad; --on-act: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --paper: #1c2026; --ground: #121519; --line: #3a414b;
  --quiet: #a3acb8; --act: #7ab8ff; --on-act: #0b1420; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 34rem; margin: 8vh auto; padding: 2rem; background: var(--paper); border: 1px solid var(--line);
  border-radius: .75rem; overflow-wrap: anywhere; }
h1 { margin: 0 0 1rem; font-size: 1.4rem; line-height: 1.25; }
dl { margin: 1rem 0; display: grid; grid-template-columns: max-content 1fr; gap: .4rem 1rem; }
dt { color: var(--quiet); } dd { margin: 0; }
ul { margin: 0; padding: 0; list-style: none; }
.act { display: inline-block; margin-top: .5rem; padding: .75rem 1.25rem; border: 0; border-radius: .5rem; font: inherit;
  font-weight: 600; background: var(--act); color: var(--on-act); text-decoration: none; cursor: pointer; }
.act:focus-visible { outline: 3px solid var(--ink); outline-offset: 2px; }
.quiet { color: var(--quiet); font-size: .9rem; }
@media (max-width: 40rem) { main { margin: 0; min-height: 100vh; border: 0; border-radius: 0; padding: 1.5rem; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .6rem; } .act { width: 100%; text-align: center; } }
"""
_STYLE_HASH: Final = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final[Mapping[str, str]] = {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "x-robots-tag": "noindex",
}


def connect_page(facts: Sequence[tuple[str, str | Sequence[str]]], *, provider: str, check: str) -> Response:
    """What will be connected, and the one thing to press. `check` comes back with the form."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{_told(value)}</dd>" for name, value in facts)
    return _page(
        f"Connect to {provider}",
        f"<p>You are about to let this integration use your account at <strong>{escape(provider)}</strong>.</p>"
        f"<dl>{rows}</dl>"
        f'<form method="post"><input type="hidden" name="check" value="{escape(check)}">'
        f'<button class="act" type="submit">Continue to {escape(provider)}</button></form>'
        '<p class="quiet">You sign in there, not here, and decide there. Close this page if you did not expect it.</p>',
    )


def leaving_page(url: str, *, provider: str, cookie: str) -> Response:
    """The way out. A redirect of the form itself would need a policy that lets forms go anywhere."""
    target = escape(url)
    return _page(
        f"Going to {provider}",
        f'<p>If nothing happens, <a class="act" href="{target}">continue to {escape(provider)}</a></p>',
        head=f'<meta http-equiv="refresh" content="0;url={target}">',
        headers={"set-cookie": cookie},
    )


def connected_page(*, provider: str, return_to: str) -> Response:
    back = f'<p><a class="act" href="{escape(return_to)}">Go back</a></p>' if return_to else ""
    return _page(f"{provider} is connected", f"<p>Everything is set up. You can close this page.</p>{back}")


def trouble_page(title: str, what: str, *, status: int, link: str) -> Response:
    """What did not work and what to do; `link`, a path of ours, begins again."""
    again = f'<p><a class="act" href="{escape(link)}">Try again</a></p>' if link else ""
    return _page(title, f"<p>{escape(what)}</p>{again}", status=status)


def _told(value: str | Sequence[str]) -> str:
    if isinstance(value, str):
        return escape(value)
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in value) + "</ul>"


def _page(
    title: str, body: str, *, head: str = "", status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>{head}<style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
    return Response(status=status, headers={**_HEADERS, **(headers or {})}, body=text.encode())
