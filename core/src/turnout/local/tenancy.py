"""More than one customer's code on one machine: only in a sandbox that isolates, or where somebody said that it may be.

Looked at when an instance is deployed, when a worker starts, and, because a worker cannot know what others deploy, before
each code step: the storage directory remembers whose code ran here first.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from turnout.errors import BackendError, NotFound, SettingsError
from turnout.interfaces.records import ExecutionQuery, RecordStore
from turnout.interfaces.sandbox import Isolation, Sandbox
from turnout.local.bundles import BundleStore
from turnout.model.definition import CodeStep, Integration, walk
from turnout.services.submission import Instance

__all__ = ["Tenancy"]

_FILE: Final = "code-customer"
_LOOKED_AT: Final = 200
"""Executions, the newest ones."""


class Tenancy:
    """`name` is the sandbox's in the settings, `directory` the storage directory; `allowed` lets everything pass."""

    def __init__(self, sandbox: Sandbox, name: str, directory: Path, *, allowed: bool = False) -> None:
        self._missing = () if allowed else tuple(one.value for one in Isolation if one not in sandbox.isolates)
        self._name = name
        self._file = directory / _FILE
        self._first: str | None = None
        self._code: dict[str, bool] = {}

    @property
    def restricts(self) -> bool:
        """Whether there is anything to check."""
        return bool(self._missing)

    def check_instances(self, instances: Iterable[Instance]) -> None:
        """`SettingsError` if they belong to several customers, and some have code."""
        if not self._missing:
            return
        tenants, code = set(), False
        for instance in instances:
            tenants.add(instance.tenant)
            if instance.bundle not in self._code:
                self._code[instance.bundle] = _has_code(instance.integration)
            code = code or self._code[instance.bundle]
        if code and len(tenants) > 1:
            raise self._refusal(tenants)

    async def check_history(self, records: RecordStore, bundles: BundleStore) -> None:
        """`SettingsError` if the newest executions are of several customers, and some had code."""
        if not self._missing:
            return
        newest = await records.search(ExecutionQuery(limit=_LOOKED_AT))
        tenants = {record.info.tenant for record in newest}
        if len(tenants) > 1 and await _any_code(bundles, {record.info.bundle for record in newest}):
            raise self._refusal(tenants)

    def admit(self, tenant: str) -> None:
        """Before code of this customer runs. `SettingsError` if another's ran here."""
        if not self._missing:
            return
        if self._first is None:
            self._first = self._remembered(tenant)
        if self._first != tenant:
            refusal = self._refusal({tenant, self._first})
            raise SettingsError(
                f"{refusal}. Where nothing of {self._first!r} is left on this machine, remove {self._file}",
                setting=refusal.setting,
            )

    def _refusal(self, tenants: Iterable[str]) -> SettingsError:
        first, second, *others = sorted(tenants)
        more = f" and {len(others)} more" if others else ""
        return SettingsError(
            f"runner.sandbox: there is code to run for more than one customer ({first!r}, {second!r}{more}), and the sandbox "
            f"{self._name!r} does not isolate {', '.join(self._missing)}: choose one that does, "
            '`[runner] sandbox = "chroot"` of turnout-ecs; for development alone, `allow_unsafe_sandbox = true` there or '
            "--allow-unsafe-sandbox",
            setting="runner.sandbox",
        )

    def _remembered(self, tenant: str) -> str:
        """Whose code ran here first: this customer's, if nobody's is known. Of several processes one writes it down."""
        beside = self._file.with_name(f".{_FILE}-{secrets.token_hex(8)}")
        try:
            with contextlib.suppress(FileNotFoundError):
                return self._file.read_text(encoding="utf-8")
            beside.write_text(tenant, encoding="utf-8")
            try:
                os.link(beside, self._file)
            except FileExistsError:
                return self._file.read_text(encoding="utf-8")
            finally:
                beside.unlink()
        except (OSError, ValueError) as error:
            raise BackendError(f"{self._file}: whose code runs here cannot be written down: {error}") from error
        return tenant


async def _any_code(bundles: BundleStore, hashes: Iterable[str]) -> bool:
    for one in hashes:
        with contextlib.suppress(NotFound):  # it is nowhere: it cannot run
            if _has_code((await bundles.load(one)).integration):
                return True
    return False


def _has_code(integration: Integration) -> bool:
    return any(isinstance(step, CodeStep) for flow in integration.flows.values() for step in walk(flow.steps))
