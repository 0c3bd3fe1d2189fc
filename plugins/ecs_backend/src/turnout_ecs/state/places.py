"""Where a value stands: the keys of one scope, all under one hash tag, so that a cluster spreads the scopes.

Scope, key and operation come from outside and may be any text, of any length: what stands in the name of a key is a hash.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec
from turnout.interfaces.state import StateScope

__all__ = ["Place", "field_of", "key_of", "values_of"]


def field_of(key: str) -> bytes:
    """A key as it stands in the hash of its scope. Their order as bytes is that of the text."""
    return key.encode("utf-8", "surrogatepass")


def key_of(field: bytes) -> str:
    return field.decode("utf-8", "surrogatepass")


def values_of(prefix: str, scope: StateScope) -> bytes:
    """The hash that has the values of a scope."""
    return _tag(prefix, scope) + b"values"


class Place:
    """One key of one scope. The Lua files say what each of these holds."""

    def __init__(self, prefix: str, scope: StateScope, key: str) -> None:
        self._tag = _tag(prefix, scope)
        self.field: Final = field_of(key)
        self.values: Final = self._tag + b"values"
        self.large: Final = self._tag + b"large:" + _digest(self.field)

    def done(self, verb: str, operation: str) -> bytes:
        return self._tag + b"done:" + _digest(msgspec.msgpack.encode((verb, self.field, field_of(operation))))

    def staged(self, id_: str) -> bytes:
        return self._tag + b"staged:" + id_.encode()


def _tag(prefix: str, scope: StateScope) -> bytes:
    # Each part has its length, so that no two scopes come to the same.
    parts = msgspec.msgpack.encode((field_of(scope.tenant), field_of(scope.instance), field_of(scope.flow)))
    return b"{%b:s:%b}:" % (prefix.encode(), _digest(parts))


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest()[:40].encode()
