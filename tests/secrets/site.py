"""A site that tells everything it was told, in all the ways in which text gets written: what a careless API does."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, quote_plus

__all__ = ["forms", "found_forms", "telling"]


def forms(text: str) -> dict[str, str]:
    """A text as it is and encoded, alone and within other text."""
    return {
        "plain": text,
        "json": json.dumps({"token": text}),
        "json in json": json.dumps(json.dumps({"a": [text]})),
        "escaped": "".join(f"\\u{ord(character):04x}" for character in text),
        "url": f"https://host/?q={quote(text, safe='')}&r={quote_plus(text)}",
        "base64": base64.b64encode(text.encode()).decode(),
        "base64 of a pair": base64.b64encode(f"user:{text}".encode()).decode(),
        "base64 for urls": base64.urlsafe_b64encode(f"{{{text}}}".encode()).decode(),
        "hex": text.encode().hex(),
    }


def found_forms(text: str, data: bytes) -> set[str]:
    """In which ways a text stands in bytes. Written anew and not with Turnout's own masks: what those overlook, this finds."""
    plain = text.encode()
    quoted = [json.dumps(text, ensure_ascii=ascii)[1:-1] for ascii in (True, False)]
    needles = {
        "plain": [plain],
        "json": [one.encode() for one in quoted],
        "json in json": [
            json.dumps(one, ensure_ascii=ascii)[1:-1].encode() for one in quoted for ascii in (True, False)
        ],
        "escaped": ["".join(f"\\u{ord(character):04x}" for character in text).encode()],
        "url": [
            quote(text, safe="").encode(),
            quote_plus(text).encode(),
            quote(quote(text, safe=""), safe="").encode(),
        ],
        "utf-16": [text.encode("utf-16-le"), text.encode("utf-16-be")],
        "hex": [plain.hex().encode(), plain.hex().upper().encode()],
        # Whatever stands before it: four characters at each end hold bits of the neighbours.
        "base64": [
            encode(b"\0" * shift + plain + b"\0\0")[4 if shift else 0 : -8]
            for shift in range(3)
            for encode in (base64.b64encode, base64.urlsafe_b64encode)
        ],
    }
    return {name for name, written in needles.items() if any(len(one) >= 8 and one in data for one in written)}


@contextmanager
def telling(marker: str) -> Iterator[str]:
    """The site's URL. Each answer holds the request's headers, what their Authorization means, and `marker`, in all forms."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            given = self.headers.get("Authorization", "")
            scheme, _, credentials = given.partition(" ")
            if scheme == "Basic":
                credentials = base64.b64decode(credentials).decode().partition(":")[2]
            told = {"headers": dict(self.headers), "credentials": forms(credentials), "marker": forms(marker)}
            body = json.dumps(told).encode()
            self.send_response(500 if self.path.startswith("/fail") else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Told", json.dumps(credentials)[1:-1])
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815 - a name that the server looks for

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
