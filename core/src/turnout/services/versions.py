"""Published versions of integrations: immutable, each with the bundle that its executions run."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from turnout.definition.nearest import hint_for
from turnout.engine.backends import Bundle, Bundles
from turnout.errors import NotFound, UserError
from turnout.interfaces.catalog import CatalogStore
from turnout.interfaces.clock import Clock
from turnout.model.definition import Integration
from turnout.services.documents import Document, Documents

__all__ = ["BundleSource", "Published", "Version", "Versions"]

_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_LOADED: Final = 1000


class BundleSource(Bundles, Protocol):
    async def build(self, integration: Integration) -> Bundle:
        """The integration's bundle, kept from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The document `version`, named `<integration>/<version>`, of no customer. `order` counts what was published of the
    integration, from 1."""

    integration: str
    version: str
    bundle: str
    description: str = ""
    published_at: float = 0.0
    order: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """`new` is false where the same content had been published under that version before."""

    version: Version
    new: bool


class Versions:
    """`admit` refuses a bundle that cannot run here, with a `SettingsError`. Versions are never changed and never removed while
    an instance has them."""

    def __init__(
        self, catalog: CatalogStore, clock: Clock, bundles: BundleSource, admit: Callable[[Bundle], None]
    ) -> None:
        self._clock = clock
        self._bundles = bundles
        self._admit = admit
        self.documents: Documents[Version] = Documents(catalog, "version", Version)
        self._loaded: dict[str, Bundle] = {}

    async def publish(self, integration: Integration) -> Published:
        """Build and keep this version, of a definition that was checked. Published again with the same content nothing happens;
        `UserError` if there is other content under that version."""
        if not _VERSION.fullmatch(integration.version):
            raise UserError(
                f"{integration.version[:120]!r} is no version to publish: letters, digits and . _ + -, such as 1.4.0"
            )
        bundle = await self._bundles.build(integration)
        self._admit(bundle)
        name = _name(integration.name, integration.version)
        while True:
            found = await self.documents.get(name)
            if found is not None:
                return _published(found.value, bundle.hash)
            earlier = await self.of(integration.name)
            version = Version(
                integration=integration.name,
                version=integration.version,
                bundle=bundle.hash,
                description=integration.description,
                published_at=self._clock.now(),
                order=1 + max((version.order for version in earlier), default=0),
            )
            if await self.documents.create(name, version):
                return Published(version=version, new=True)

    async def get(self, integration: str, version: str = "") -> Version:
        """That version; without `version` the one that was published last. `NotFound` names the nearest."""
        if version:
            found = await self.documents.get(_name(integration, version)) if _VERSION.fullmatch(version) else None
            if found is not None:
                return found.value
        known = await self.of(integration)
        if not known:
            names = [name for name, _ in await self.integrations()]
            hint = hint_for(integration, names) or "publish one with `turnout integrations publish PATH`"
            raise NotFound("published integration", integration, hint=hint)
        if version:
            hint = hint_for(version, [one.version for one in known])
            raise NotFound(f"version of {integration!r} called", version, hint=hint)
        return known[0]

    async def of(self, integration: str) -> Sequence[Version]:
        """All versions of an integration, the newest first."""
        found = [document.value async for document in self.documents.all(prefix=f"{integration}/")]
        return sorted(found, key=lambda version: (version.order, version.published_at), reverse=True)

    async def all(self) -> AsyncIterator[Document[Version]]:
        async for document in self.documents.all():
            yield document

    async def integrations(self) -> Sequence[tuple[str, Sequence[Version]]]:
        """By name, each with its versions, the newest first."""
        found: dict[str, list[Version]] = {}
        async for document in self.documents.all():
            found.setdefault(document.value.integration, []).append(document.value)
        return [
            (name, sorted(versions, key=lambda version: version.order, reverse=True))
            for name, versions in sorted(found.items())
        ]

    async def bundle(self, hash: str) -> Bundle:
        """What runs; read once in a process. `NotFound` if it is not kept here."""
        bundle = self._loaded.get(hash)
        if bundle is None:
            bundle = await self._bundles.load(hash)
            if len(self._loaded) >= _LOADED:
                self._loaded.clear()
            self._loaded[hash] = bundle
        return bundle

    async def admitted(self, hash: str) -> Bundle:
        """As `bundle`; `SettingsError` if it cannot run with the settings as they are."""
        bundle = await self.bundle(hash)
        self._admit(bundle)
        return bundle

    async def differences(self, before: Version, after: Version) -> Mapping[str, Sequence[str]]:
        """What another version has more, less and otherwise: of `config`, `connections` and `flows`, each name with a sign."""
        one = (await self.bundle(before.bundle)).integration
        other = (await self.bundle(after.bundle)).integration
        return {
            "config": _signed(one.config, other.config),
            "connections": _signed(one.connections, other.connections),
            "flows": _signed(one.flows, other.flows),
        }


def _published(known: Version, hash: str) -> Published:
    if known.bundle != hash:
        raise UserError(
            f"version {known.version} of {known.integration!r} is published with other content, which never changes: "
            "raise `version` in the definition and publish that"
        )
    return Published(version=known, new=False)


def _signed(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    added = [f"+ {name}" for name in after if name not in before]
    removed = [f"- {name}" for name in before if name not in after]
    changed = [f"~ {name}" for name in after if name in before and before[name] != after[name]]
    return sorted((*added, *removed, *changed), key=lambda text: text[2:])


def _name(integration: str, version: str) -> str:
    return f"{integration}/{version}"
