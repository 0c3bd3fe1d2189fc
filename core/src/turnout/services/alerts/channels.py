"""The project's channels: each opened when it is first needed, with what its table says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Final

from turnout.errors import BackendError, NotFound, SettingsError
from turnout.interfaces.notifier import Notification, Notifier
from turnout.interfaces.opening import Opening
from turnout.interfaces.secrets import Secret
from turnout.masking import Mask

__all__ = ["CHANNELS", "Channels", "Found"]

CHANNELS: Final = "alerts.channels"
_SEND_S: Final = 30.0

Found = Callable[[str], type[Notifier]]
"""The notifier of a kind; `NotFound`."""


class Channels:
    """`tables` are those of `[alerts.channels]`; `find` gives the class of a kind, `opening` what all are opened with."""

    def __init__(self, tables: Mapping[str, Mapping[str, Any]], find: Found, opening: Opening) -> None:
        self._tables = tables
        self._find = find
        self._opening = opening
        self._open: dict[str, Notifier] = {}
        self._secrets: dict[str, set[str]] = {}
        self._opens = {name: asyncio.Lock() for name in tables}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._tables)

    def check(self) -> None:
        """`SettingsError` names what is wrong with a channel, its secrets aside, which are asked for when it is opened."""
        for name in self._tables:
            self._opening_of(name).read(self._kind(name).options)

    async def send(self, name: str, notification: Notification) -> str:
        """As `Notifier.send`, through the channel of that name; `NotFound` if there is none."""
        try:
            async with asyncio.timeout(_SEND_S):
                notifier = await self._notifier(name)
                return self._masked(await notifier.send(self._cleaned(notification)))
        except TimeoutError:
            raise BackendError(f"channel {name!r} did not answer within {_SEND_S:g} s") from None
        except SettingsError as error:
            await self._forget(name)  # what it is set up with may be another secret the next time
            raise SettingsError(self._masked(str(error)), setting=f"{CHANNELS}.{name}") from None
        except NotFound:
            raise
        except BackendError as error:
            error.args = (self._masked(str(error)),)
            raise
        except Exception as error:  # of a plugin: whatever it is, the message waits as if the channel was down
            raise BackendError(f"channel {name!r} fails: {type(error).__name__}") from error

    async def close(self) -> None:
        """Close those that are open, whether or not one fails to. Idempotent."""
        async with AsyncExitStack() as stack:
            for notifier in self._open.values():
                stack.push_async_callback(notifier.close)
            self._open.clear()

    def _kind(self, name: str) -> type[Notifier]:
        if name not in self._tables:
            raise NotFound("channel", name, hint=f"there are: {', '.join(self._tables) or 'none'}")
        kind = str(self._tables[name].get("kind", ""))
        try:
            return self._find(kind)
        except NotFound as error:
            raise SettingsError(f"{CHANNELS}.{name}.kind: {error}", setting=f"{CHANNELS}.{name}.kind") from None

    def _opening_of(self, name: str) -> Opening:
        options = {key: value for key, value in self._tables[name].items() if key != "kind"}
        return replace(self._opening, name=name, options=options, table=CHANNELS, secret=self._remembering(name))

    def _remembering(self, name: str) -> Callable[[str], Awaitable[Secret]]:
        async def secret(written: str) -> Secret:
            found = await self._opening.secret(written)
            self._secrets.setdefault(name, set()).add(found.reveal())
            return found

        return secret

    async def _notifier(self, name: str) -> Notifier:
        kind = self._kind(name)
        async with self._opens[name]:
            if name not in self._open:
                try:
                    self._open[name] = await kind.connect(self._opening_of(name))
                except NotFound as error:  # of what a reference names
                    raise SettingsError(f"{CHANNELS}.{name}: {error}", setting=f"{CHANNELS}.{name}") from None
            return self._open[name]

    async def _forget(self, name: str) -> None:
        if (notifier := self._open.pop(name, None)) is not None:
            await notifier.close()

    def _masked(self, text: str) -> str:
        return Mask(secret for secrets in self._secrets.values() for secret in secrets).text(text)

    def _cleaned(self, notification: Notification) -> Notification:
        """Without the channels' own secrets: an error that somebody logged may have one."""
        return replace(
            notification,
            subject=self._masked(notification.subject),
            text=self._masked(notification.text),
            details={name: self._masked(text) for name, text in notification.details.items()},
        )
