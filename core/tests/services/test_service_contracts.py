"""The services keep the promises of services."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from turnout.config import ApiSettings, Authentication, RetentionSettings, Settings
from turnout.errors import NotFound
from turnout.local.api import api_of
from turnout.local.platform import Platform
from turnout.local.retention import Retention
from turnout.plugins import load_plugins
from turnout.services.api.service import Api
from turnout.services.health import Health
from turnout.services.ingress import CallbackUrls, Ingress
from turnout.services.ingress.gate import KeyCheck
from turnout.services.ingress.sns import Fetch, fetch
from turnout.services.metadata import Metadata
from turnout.services.metrics import Metrics
from turnout.services.oauth.service import OAuth
from turnout.services.recovery import Recovery
from turnout.services.runner import Runner
from turnout.services.submission import Instance, Submission
from turnout.services.waiting import Endings
from turnout.testing.service import ServiceContract

from core.tests.services.yard import Yard


class TestMetadata(ServiceContract):
    @pytest.fixture
    def service(self, yard: Yard) -> Metadata:
        return yard.metadata


class TestRunner(ServiceContract):
    @pytest.fixture
    def service(self, yard: Yard) -> Runner:
        return yard.runner


class TestRecovery(ServiceContract):
    @pytest.fixture
    def service(self, yard: Yard) -> Recovery:
        return yard.recovery


class TestHealth(ServiceContract):
    @pytest.fixture
    def service(self, yard: Yard) -> Health:
        health = Health(yard.stores.queue, yard.stores.journal, yard.runner, Metrics())
        health.ready = True  # what is not ready answers 503, as it promises
        return health


class TestRetention(ServiceContract):
    @pytest.fixture
    def service(self, yard: Yard) -> Retention:
        return Retention(yard.stores, yard.metadata, RetentionSettings())


class TestApi(ServiceContract):
    """Asked without a key, which is not needed here."""

    @pytest.fixture
    async def service(self, tmp_path: Path) -> AsyncIterator[Api]:
        open_to_all = ApiSettings(authentication=Authentication.NONE, hosts=("",))
        settings = Settings(root=tmp_path, api=open_to_all)
        platform = await Platform.open(settings, load_plugins())
        yield api_of(platform)
        await platform.close()


class TestOAuth(ServiceContract):
    @pytest.fixture
    async def service(self, tmp_path: Path) -> AsyncIterator[OAuth]:
        platform = await Platform.open(Settings(root=tmp_path), load_plugins())
        yield platform.oauth
        await platform.close()


class TestIngress(ServiceContract):
    @pytest.fixture
    def service(self, yard: Yard) -> Ingress:
        return make_ingress(yard)


def make_ingress(yard: Yard, *instances: Instance, keys: KeyCheck | None = None, fetch: Fetch = fetch) -> Ingress:
    known = {instance.name: instance for instance in instances}
    backends = yard.lab.backends
    submission = Submission(backends=backends, queue=yard.stores.queue)

    async def instance(_: str, name: str) -> Instance:
        if name not in known:
            raise NotFound("instance", name)
        return known[name]

    callbacks, records = CallbackUrls("http://x", b"k"), yard.stores.records
    return Ingress(backends, submission, yard.stores.queue, Endings(), callbacks, instance, records.get, keys, fetch)
