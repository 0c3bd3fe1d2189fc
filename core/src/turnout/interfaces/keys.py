"""Wrapping keys: where the key that protects all others is, be it a file or a key service that never gives it away."""

from __future__ import annotations

from abc import ABC, abstractmethod

from turnout.interfaces.opening import Openable

__all__ = ["KeyWrapper"]


class KeyWrapper(Openable, ABC):
    """Encrypts data keys. Each sentence is a promise and a test in `turnout.testing.keys`. No error ever contains a key."""

    @property
    @abstractmethod
    def key_id(self) -> str:
        """Names the key that `wrap` uses now; another one after a rotation. Tells nothing of the key itself."""

    @abstractmethod
    async def wrap(self, key: bytes, context: str) -> bytes:
        """The data key, of 32 bytes, encrypted and bound to `context`. `BackendError` if the service cannot be reached."""

    @abstractmethod
    async def unwrap(self, wrapped: bytes, context: str) -> bytes:
        """What was wrapped, also before a rotation. `BackendError` if it was wrapped with a key that is not there any more,
        with another context, or was changed."""
