"""A queue that declares little: what a project asks of it beyond its promises is refused, and not silently ignored."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
from turnout import hookimpl
from turnout.config import QueueSettings, Settings, StoresSettings
from turnout.definition import load_integration
from turnout.deploy.queue_fit import queue_findings
from turnout.errors import SettingsError
from turnout.interfaces.opening import Opening
from turnout.interfaces.queue import QueueCapability
from turnout.local.memory_queue import MemoryQueue
from turnout.local.stores import Stores
from turnout.plugins import load_plugins

FLOWS = """
integration: shop
version: 1.0.0
flows:
  plain: {trigger: {webhook: {}}, limits: {deduplicate: {key: "${{ trigger.body.id }}", window: 1h}}, steps: [{id: done, stop: {output: 1}}]}
  slow: {trigger: {webhook: {}}, limits: {concurrency: 1}, steps: [{id: done, stop: {output: 1}}]}
  first: {trigger: {webhook: {}}, limits: {priority: 5}, steps: [{id: done, stop: {output: 1}}]}
"""


class Bare(MemoryQueue):
    """Declares nothing, and remembers how it was opened."""

    capabilities: ClassVar[frozenset[QueueCapability]] = frozenset()
    opening: ClassVar[Opening]

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        Bare.opening = opening
        return cls(clock=opening.clock)


class Plugin:
    @hookimpl
    def turnout_queues(self) -> Any:
        return {"bare": Bare}


async def opened(root: Path, queue: QueueSettings) -> Stores:
    settings = Settings(root=root, stores=StoresSettings(queue="bare"), queue=queue)
    return await Stores.open(settings, load_plugins(extra=[Plugin()]))


@pytest.mark.parametrize(
    ("queue", "setting"),
    [
        (QueueSettings(weight=2), "queue.weight"),
        (QueueSettings(in_flight=7), "queue.in_flight"),
        (QueueSettings(tenants={"acme": {"in_flight": 7}}), "queue.tenants.acme.in_flight"),
    ],
)
async def test_turns_of_customers_are_refused_where_the_queue_takes_none(
    tmp_path: Path, queue: QueueSettings, setting: str
) -> None:
    with pytest.raises(SettingsError, match="'bare'") as raised:
        await opened(tmp_path, queue)

    assert raised.value.setting == setting


async def test_a_capacity_is_every_queues_to_keep(tmp_path: Path) -> None:
    stores = await opened(tmp_path, QueueSettings(capacity=3))

    assert isinstance(stores.queue, Bare)
    await stores.close()


async def test_a_queue_is_given_the_projects_catalog_when_it_asks(tmp_path: Path) -> None:
    stores = await opened(tmp_path, QueueSettings())

    catalog = await Bare.opening.catalog()

    assert type(catalog) is type(stores.catalog)
    await stores.close()


def test_flows_that_ask_for_what_the_queue_does_not_declare_are_found(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(FLOWS)
    integration = load_integration(tmp_path / "shop.yaml")
    settings = Settings(root=tmp_path, stores=StoresSettings(queue="bare"))

    found = {one.flow: one.message for one in queue_findings(settings, Bare, [integration])}

    assert set(found) == {"shop/slow", "shop/first"}
    assert "`limits`, which the queue 'bare' does not keep" in found["shop/slow"]
    assert "a `priority`" in found["shop/first"]
    assert list(queue_findings(settings, MemoryQueue, [integration])) == []
