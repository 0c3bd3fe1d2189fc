"""Addresses that end a waiting step."""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import quote

__all__ = ["CallbackUrls"]


class CallbackUrls:
    """Addresses that end a waiting step: signed, so that nobody can make one up.

    `base_url` may be set until the first execution runs: a server that takes a free port learns late where it is.
    """

    def __init__(self, base_url: str, key: bytes) -> None:
        self.base_url = base_url
        self._key = key

    def url(self, execution: str, path: str) -> str:
        return f"{self.base_url.rstrip('/')}/callbacks/{execution}/{quote(path, safe='')}/{self.signature(execution, path)}"

    def signature(self, execution: str, path: str) -> str:
        return hmac.digest(self._key, f"callback\0{execution}\0{path}".encode(), hashlib.sha256).hex()[:40]
