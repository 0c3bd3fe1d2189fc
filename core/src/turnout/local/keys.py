"""The installation's own keys: what encrypts stored secrets, and what idempotency keys and callback URLs are signed with.

A ring of keys, the newest first: the newest encrypts, all decrypt, so that a key can be replaced while values
encrypted with the one before are still there. It comes from the environment variable `TURNOUT_SECRET_KEY` (base64, several
with commas between them), or else from a file with a key a line, which is made when first needed.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from turnout.errors import BackendError, SettingsError
from turnout.local.durable_files import flush, replace_file, write_new

__all__ = ["KEY_BYTES", "VARIABLE", "Keys", "derived"]

VARIABLE: Final = "TURNOUT_SECRET_KEY"
KEY_BYTES: Final = 32

_HOW_TO: Final = "32 bytes in base64, as `openssl rand -base64 32` makes them"


class Keys:
    """The key ring of one installation, whose files are in `directory`."""

    def __init__(self, directory: str | Path, *, environment: Mapping[str, str] | None = None) -> None:
        """`SettingsError` names what is wrong with a key or who else can read its file."""
        self.path = Path(directory) / "secret.key"
        variable = (os.environ if environment is None else environment).get(VARIABLE)
        self._fixed = None if variable is None else _parsed(variable.split(","), VARIABLE)
        self._derivation = self.ring()[-1]

    def __repr__(self) -> str:
        return f"Keys({VARIABLE if self._fixed else self.path})"

    @property
    def from_environment(self) -> bool:
        """Whether the keys are set where Turnout is started, so that they are replaced there and not by `add`."""
        return self._fixed is not None

    def ring(self) -> tuple[bytes, ...]:
        """The keys as they are now, the newest first; a key file that another process changed is read again."""
        return self._fixed or self._read() or self._generate()

    def derive(self, purpose: str) -> bytes:
        """A key of 32 bytes for one purpose, the same in every process and at every start; it tells nothing of others.

        It comes from the oldest key of the ring, so that a new key in front changes no key of a running execution.
        """
        return derived(self._derivation, purpose)

    def add(self, key: bytes) -> None:
        """Put a key of 32 bytes in front of the ring. `SettingsError` if the keys come from the environment without it:
        it must be put there first."""
        if len(key) != KEY_BYTES:
            raise SettingsError(f"a key has {KEY_BYTES} bytes, not {len(key)}", setting=VARIABLE)
        ring = self.ring()
        if ring[0] == key:
            return
        if self._fixed:
            raise SettingsError(
                f"put the new key first in {VARIABLE}, a comma, the old one, and restart", setting=VARIABLE
            )
        replace_file(self.path, _written((key, *(old for old in ring if old != key))))

    def _read(self) -> tuple[bytes, ...] | None:
        try:
            with self.path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                lines = file.read().decode("ascii", "replace").splitlines()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BackendError(f"{self.path}: {error.strerror or error}") from error
        if mode & 0o077:
            raise SettingsError(f"{self.path}: others can read this key: run `chmod 600 {self.path}`", setting=VARIABLE)
        return _parsed(lines, str(self.path))

    def _generate(self) -> tuple[bytes, ...]:
        """A new key file; if another process was quicker, its key."""
        mine = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_new(mine, _written((secrets.token_bytes(KEY_BYTES),)))
            with contextlib.suppress(FileExistsError):
                os.link(mine, self.path)
            flush(self.path.parent)
        except OSError as error:
            raise BackendError(f"{self.path}: {error.strerror or error}") from error
        finally:
            mine.unlink(missing_ok=True)
        ring = self._read()
        assert ring is not None
        return ring


def derived(key: bytes, purpose: str) -> bytes:
    """HKDF-SHA256 (RFC 5869) of a key for a purpose, 32 bytes."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=f"turnout {purpose}".encode()).derive(key)


def _parsed(lines: Iterable[str], source: str) -> tuple[bytes, ...]:
    keys = []
    for line in filter(None, map(str.strip, lines)):
        try:
            key = base64.b64decode(line, validate=True)
        except (binascii.Error, ValueError):
            key = b""  # the error would show the key
        if len(key) != KEY_BYTES:
            raise SettingsError(f"{source}: a key must be {_HOW_TO}", setting=VARIABLE)
        keys.append(key)
    if not keys:
        raise SettingsError(f"{source}: no key; it must be {_HOW_TO}", setting=VARIABLE)
    return tuple(keys)


def _written(keys: Iterable[bytes]) -> bytes:
    return b"".join(base64.b64encode(key) + b"\n" for key in keys)
