"""What a Python of the self-test tries: the same as `attempts.mjs`, of the layers that a Python has for itself."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["main"]


def _seccomp(given: Mapping[str, Any]) -> str:
    with socket.socket() as connection:
        connection.connect(("127.0.0.1", given["port"]))
    return "Python made a connection by itself"


def _seal(_: Mapping[str, Any]) -> str:
    os.close(os.open("/bootstrap_python/main.py", os.O_RDONLY))
    return "Python opened a file of the jail"


_ATTEMPTS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {"seccomp": _seccomp, "seal": _seal}


def main(given: Mapping[str, Any]) -> dict[str, str]:
    """What it got, or the error with which it was refused."""
    try:
        return {"got": _ATTEMPTS[given["layer"]](given)}
    except OSError as error:
        return {"refused": errno.errorcode.get(error.errno or 0, str(error))}
