"""A server that tells whoever asks what it was asked: on addresses of loopback, as in the clear as it gets."""

from __future__ import annotations

import asyncio
from typing import Final

__all__ = ["PLACEHOLDER", "SECRET", "Origins"]

PLACEHOLDER: Final = "turnout-placeholder-4f1c2a9e"
SECRET: Final = "hunter2-hunter2"
_HOSTS: Final = {"closed": "127.0.0.1", "listed": "127.0.0.2", "owner": "127.0.0.3", "unlisted": "127.0.0.4"}
_MOST_BYTES: Final = 1 << 20


class Origins:
    """One server on each address. `at` says where: `[host, port]` by what it is to the attacker."""

    def __init__(self) -> None:
        self.at: dict[str, list[object]] = {}
        self._servers: list[asyncio.Server] = []

    async def start(self) -> None:
        for what, host in _HOSTS.items():
            server = await asyncio.start_server(_answer, host, 0, limit=_MOST_BYTES)
            self._servers.append(server)
            self.at[what] = [host, server.sockets[0].getsockname()[1]]

    def listing(self, *which: str) -> tuple[str, ...]:
        """As hosts of an integration's list."""
        return tuple(f"{self.at[what][0]}:{self.at[what][1]}" for what in which)

    async def close(self) -> None:
        for server in self._servers:
            server.close()
            await server.wait_closed()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        asked = await reader.readuntil(b"\r\n")
        if b" HTTP/1." in asked:
            asked += await reader.readuntil(b"\r\n\r\n") if not asked.endswith(b"\r\n\r\n") else b""
            asked += asked[::-1]  # in which the broker does not find what it would take back
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(asked)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + asked)
        else:
            writer.write(b"+PONG\r\n")
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()
