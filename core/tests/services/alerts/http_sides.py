"""The other sides of channels over HTTP, as their documentation has them: they refuse what a provider would."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from turnout.testing.notifier import Answering, Arrival

__all__ = ["HookSide", "HttpSide", "PagerDutySide", "SlackSide"]


class HttpSide(ABC):
    """A server on this machine, from `with` to its end."""

    secrets: Sequence[str] = ()
    answers = frozenset(Answering)
    statuses: ClassVar[Mapping[Answering, int]]

    def __init__(self) -> None:
        self.how = Answering.TAKES
        self.taken: list[Arrival] = []
        self.faults: list[str] = []
        side = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status, text = side.answered(self.path, self.headers, body)
                self.send_response(status)
                if status == 429:
                    self.send_header("retry-after", "30")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *arguments: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> HttpSide:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def answered(self, path: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        if self.how is not Answering.TAKES:
            return self.statuses[self.how], b"no"
        fault = self.fault(path, headers, body)
        if fault:
            self.faults.append(fault)
            return 400, fault.encode()
        self.taken.append(self.arrival(json.loads(body)))
        status = self.statuses[Answering.TAKES]
        return status, b"" if status == 204 else b"ok"

    @abstractmethod
    def fault(self, path: str, headers: Any, body: bytes) -> str:
        """What is wrong with a request by the provider's documentation; empty if nothing is."""

    @abstractmethod
    def arrival(self, document: dict[str, Any]) -> Arrival:
        """What the request says."""

    async def arrivals(self) -> Sequence[Arrival]:
        assert self.faults == []
        return list(self.taken)

    async def answer(self, how: Answering) -> None:
        self.how = how
        if how is Answering.GONE:
            self._stop()


class SlackSide(HttpSide):
    """https://docs.slack.dev/reference/block-kit/blocks: a header has 150 characters, a section 3,000; `plain_text` alone keeps
    anybody's words from being read as markup."""

    path = "/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"
    secrets = ("XXXXXXXXXXXXXXXXXXXXXXXX",)
    statuses: ClassVar[Mapping[Answering, int]] = {
        Answering.TAKES: 200,
        Answering.REFUSES: 400,
        Answering.BUSY: 429,
        Answering.FAILS: 500,
        Answering.UNAUTHORISED: 403,
    }

    def fault(self, path: str, headers: Any, body: bytes) -> str:
        document = json.loads(body)
        header, section, context = document["blocks"]
        texts = [header["text"], section["text"], *context["elements"]]
        if path != self.path or len(document["blocks"]) > 50 or any(one["type"] != "plain_text" for one in texts):
            return "invalid_blocks"
        if len(header["text"]["text"]) > 150 or len(section["text"]["text"]) > 3000:
            return "invalid_blocks_format"
        if "<" in document["text"] or ">" in document["text"]:
            return "the text for notifications is not escaped"
        return ""

    def arrival(self, document: dict[str, Any]) -> Arrival:
        header, section, context = document["blocks"]
        _, phase, incident = context["elements"][0]["text"].split(" · ")
        return Arrival(
            incident=incident,
            over=phase == "resolved",
            subject=header["text"]["text"],
            text=section["text"]["text"],
        )


class PagerDutySide(HttpSide):
    """https://developer.pagerduty.com/docs/send-alert-event: a summary of 1,024 characters, a `dedup_key` of 255, four severities,
    512 KB in all."""

    secrets = ("R0UTINGKEY0123456789ABCDEF012345",)
    statuses: ClassVar[Mapping[Answering, int]] = {
        Answering.TAKES: 202,
        Answering.REFUSES: 400,
        Answering.BUSY: 429,
        Answering.FAILS: 503,
        Answering.UNAUTHORISED: 403,
    }

    def fault(self, path: str, headers: Any, body: bytes) -> str:
        document = json.loads(body)
        if len(body) > 512 * 1024 or document["routing_key"] != self.secrets[0] or len(document["dedup_key"]) > 255:
            return "invalid event"
        if document["event_action"] == "resolve":
            return "" if document.keys() == {"routing_key", "event_action", "dedup_key"} else "invalid event"
        payload = document["payload"]
        if len(payload["summary"]) > 1024 or payload["severity"] not in ("critical", "error", "warning", "info"):
            return "invalid payload"
        return "" if payload["source"] else "source is required"

    def arrival(self, document: dict[str, Any]) -> Arrival:
        payload = document.get("payload", {"summary": "", "custom_details": {"text": ""}})
        return Arrival(
            incident=document["dedup_key"],
            over=document["event_action"] == "resolve",
            subject=payload["summary"],
            text=payload["custom_details"]["text"],
        )


class HookSide(HttpSide):
    """https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md: the signature is over id, time and body."""

    secrets = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",)
    statuses: ClassVar[Mapping[Answering, int]] = {
        Answering.TAKES: 204,
        Answering.REFUSES: 422,
        Answering.BUSY: 429,
        Answering.FAILS: 502,
        Answering.UNAUTHORISED: 401,
    }

    def fault(self, path: str, headers: Any, body: bytes) -> str:
        key = base64.b64decode(self.secrets[0].removeprefix("whsec_"))
        signed = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body))
        wanted = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        return "" if headers["webhook-signature"] == f"v1,{wanted}" else "the signature does not hold"

    def arrival(self, document: dict[str, Any]) -> Arrival:
        data = document["data"]
        return Arrival(
            incident=data["incident"],
            over=document["type"] == "alert.resolved",
            subject=data["subject"],
            text=data["text"],
        )
