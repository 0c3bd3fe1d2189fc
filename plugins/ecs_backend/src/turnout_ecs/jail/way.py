"""A jailed process's way out: its end of the egress channel on this side, with a broker behind it once the code knocks."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from turnout.interfaces.sandbox import NO_EGRESS, Egress, Exchange

from turnout_ecs.egress.broker import Broker
from turnout_ecs.egress.limits import EgressLimits

__all__ = ["Doors", "Way"]

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Doors:
    """What all brokers of a sandbox have in common."""

    limits: EgressLimits
    tls: ssl.SSLContext


class Way:
    """Of one process; most never use it, so a broker is opened at the first byte that comes. Owns `end`."""

    _closing: ClassVar[set[asyncio.Task[None]]] = set()
    """What is being closed: a loop keeps no reference to what runs on it."""

    def __init__(self, end: socket.socket, doors: Doors) -> None:
        end.setblocking(False)  # noqa: FBT003 - socket's own
        self._end = end
        self._doors = doors
        self._egress: Egress | None = None
        self._observe = NO_EGRESS.observe
        self._broker: Broker | None = None
        self._opening: asyncio.Task[None] | None = None
        self._hosts: dict[str, None] = {}
        self._listening = False

    def enter(self, egress: Egress) -> None:
        """A job begins, and this is what it may reach. `UserError` for a host or placeholder that is none."""
        self._hosts.clear()
        self._observe = egress.observe
        self._egress = replace(egress, observe=self._observed)
        if self._broker is not None:
            self._broker.attach(self._egress)
        elif not self._listening and self._opening is None:
            self._listening = True
            asyncio.get_running_loop().add_reader(self._end, self._knocked)

    def leave(self) -> Sequence[str]:
        """The job is over, and nothing is reachable: the hosts that answered it."""
        self._egress = None
        if self._broker is not None:
            self._broker.detach()
        self._deafen()
        return tuple(self._hosts)

    def close(self) -> None:
        """Nothing goes through from here on: at once, but for a broker, which ends what it has under way in some turns of the
        event loop. To be called once."""
        self._deafen()
        if self._opening is None:
            self._end.close()
            return
        closing = asyncio.ensure_future(self._close_broker(self._opening))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _close_broker(self, opening: asyncio.Task[None]) -> None:
        await asyncio.gather(opening, return_exceptions=True)
        if self._broker is not None:
            await self._broker.close()
        self._end.close()

    def _deafen(self) -> None:
        if self._listening:
            self._listening = False
            asyncio.get_running_loop().remove_reader(self._end)

    def _knocked(self) -> None:
        self._deafen()
        self._opening = asyncio.ensure_future(self._open())

    async def _open(self) -> None:
        try:
            broker = await Broker.open(self._end, self._doors.limits, tls=self._doors.tls)
        except OSError:
            _log.exception("the egress broker cannot be opened")
            return
        self._broker = broker
        if self._egress is not None:
            broker.attach(self._egress)

    def _observed(self, exchange: Exchange) -> None:
        if exchange.status is not None:
            self._hosts[f"{exchange.host}:{exchange.port}"] = None
        self._observe(exchange)
