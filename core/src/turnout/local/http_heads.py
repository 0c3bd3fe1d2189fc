"""Requests' heads within bounds: the parser keeps a head until it is whole, and nothing else says how large it may become."""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["LARGEST_HEAD", "BoundedHeads"]

LARGEST_HEAD: Final = 64 * 1024
"""Bytes of a request's line and headers. What is read at once may be more: up to a quarter of a megabyte is kept for a moment."""


class BoundedHeads(HttpToolsProtocol):
    """uvicorn's protocol; a head above `LARGEST_HEAD` is answered with 400, and the connection ends."""

    _heading = True
    _whole = 0
    _coming = 0

    def data_received(self, data: bytes) -> None:
        heading = self._heading
        super().data_received(data)
        if heading and self._heading and not self.transport.is_closing():
            self._coming += len(data)
            if self._coming > LARGEST_HEAD:
                self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        self._heading, self._whole, self._coming = True, 0, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._heading = False
        super().on_headers_complete()

    def _count(self, size: int) -> None:
        self._whole += size
        if self._whole > LARGEST_HEAD:
            raise ValueError("the head is too large")  # the parser makes a refusal of what a callback raises
