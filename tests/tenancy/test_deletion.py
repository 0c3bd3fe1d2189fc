"""A customer is deleted: afterwards nothing of them is found in anything that the project keeps, and nobody else misses anything."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from turnout.config import Settings, StoresSettings
from turnout.errors import UserError
from turnout.interfaces.catalog import Address, CatalogChange
from turnout.interfaces.records import ExecutionQuery
from turnout.interfaces.state import StateScope
from turnout.model.payload import Encoded
from turnout.services.api_keys import ApiKeys, Role
from turnout.services.connections import NewConnection
from turnout.services.data_keys import CACHED_S, DoesNotOpen
from turnout.services.erasure import ErasureParts
from turnout.services.instances import Changes, NewInstance
from turnout.values import Value
from turnout_ecs.testing.servers import RedisServer
from turnout_postgres.standins.server import PostgresServer

from core.tests.engine.laboratory import Died
from core.tests.local.town import BASIC, ORDERS, Town, output_of, town_in
from tests.tenancy.searching import Kept

GONE, STAYS = "gone-customer-5d1c", "stays-customer-e90b"
MARKS = {GONE: "marker-7b2f9e61c4", STAYS: "marker-0a84d3f7be"}
ECHO = ORDERS + "\n  echo:\n    trigger: webhook\n    steps: [{id: out, stop: {output: '${{ trigger.body }}'}}]\n"
KINDS = ("alert", "alert-message/mail", "oauth-token", "oauth-link", "schedule", "of-a-plugin")


@dataclass(frozen=True, kw_only=True)
class Place:
    settings: Settings
    kept: Kept


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RedisServer, PostgresServer]]:
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(tmp_path_factory.mktemp("redis")))
        yield redis, stack.enter_context(PostgresServer())


@pytest.fixture(params=["embedded", "shared"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    settings = Settings(root=tmp_path)
    if request.param == "embedded":
        return Place(settings=settings, kept=Kept(directory=settings.storage_directory))
    redis, postgres = request.getfixturevalue("servers")
    name = uuid4().hex
    settings = replace(
        settings,
        stores=StoresSettings(queue="redis", journal="redis", state="redis", records="postgres", catalog="postgres"),
        backends={
            "redis": {"url": redis.url, "prefix": name},
            "postgres": {"url": postgres.url, "schema": f"s{name}", "migrate": True},
        },
    )
    return Place(settings=settings, kept=Kept(directory=settings.storage_directory, redis=redis, postgres=postgres.url))


@pytest.fixture
async def town(place: Place, tmp_path: Path) -> AsyncIterator[Town]:
    async with town_in(tmp_path, place.settings) as town:
        await town.publish(ECHO, tmp_path)
        await town.publish(ECHO.replace("1.0.0", "1.1.0"), tmp_path)
        yield town


async def _plant(town: Town, customer: str) -> str:
    """Something of the customer in everything that keeps anything; an execution that has not begun."""
    platform, mark = town.platform, MARKS[customer]
    stores, tenants = platform.stores, platform.tenants
    await tenants.customers.create(customer, title=mark, metadata={"id": mark})
    new = NewConnection(connector="erp", type="basic", fields={**BASIC, "user": mark})
    await platform.connections.create(customer, "erp", new)
    await ApiKeys(stores.catalog, stores.clock).create(mark, role=Role.ADMIN, customer=customer)
    await town.deploy(customer, "orders", greeting=mark)
    await town.deploy(customer, "gone-before", greeting=f"before {mark}")
    await tenants.deployments.upgrade(
        customer, "orders", Changes(version="1.0.0", config={"greeting": f"other {mark}"})
    )
    for flow, body in (("take", mark), ("echo", mark), ("echo", mark * 100_000)):
        accepted = await platform.submission.accept(
            await tenants.deployments.get(customer, "orders"),
            flow,
            _trigger(body),
            deduplication_id=f"{mark}{len(body)}",
        )
        await town.ran(accepted.id)
    for scope in (
        StateScope(tenant=customer, instance="orders"),
        StateScope(tenant=customer, instance="orders", flow="take"),
    ):
        await stores.state.set(scope, mark, Encoded(json=json.dumps(mark * 2000).encode()), operation=mark)
        await stores.state.increment(scope, f"{mark}/sum", Decimal(1), operation=mark)
    await stores.payloads.put(customer, mark.encode() * 10)
    for kind in KINDS:
        address = Address(kind=kind, tenant=customer, name=f"{mark}/{kind}")
        await stores.catalog.write(CatalogChange(address=address, body=json.dumps(mark).encode()))
    await _begin_to_connect(town, customer, mark)
    instance = await tenants.deployments.get(customer, "orders")
    dead = await platform.submission.accept(instance, "echo", _trigger(f"dead {mark}"))
    while (lease := await stores.queue.claim("test", dead.id)) is not None:
        await stores.queue.fail(lease, reason=f"it died of {mark}")
    await platform.recovery.bury()
    waiting = await platform.submission.accept(instance, "echo", _trigger(f"waiting {mark}"))
    return waiting.id


def _trigger(body: str) -> Value:
    return Value({"body": body, "headers": {}, "query": {}})


async def _begin_to_connect(town: Town, customer: str, mark: str) -> None:
    """What somebody who was sent to a provider leaves, until they come back."""
    link = town.platform.oauth.link(customer, f"erp-{mark}").rsplit("/", 1)[-1]
    verifier = await town.platform.stores.vault.seal(customer, "oauth-state/x", b"secret")
    pending = {
        "link": link,
        "browser": "",
        "registration": "",
        "redirect_uri": "",
        "verifier": base64.b64encode(verifier).decode(),
        "expires_at": town.clock.now() + 1800,
    }
    address = Address(kind="oauth-state", name=f"state-of-{customer[:5]}")
    await town.platform.stores.catalog.write(CatalogChange(address=address, body=json.dumps(pending).encode()))


async def _delete(town: Town, customer: str, waiting: str) -> str:
    """Ask for it, cancel what runs, and let the timer do the rest; what it still waits for then."""
    await town.platform.tenants.customers.mark_deleting(customer)
    assert await town.platform.tenants.removal.customer(customer, force=True)
    await town.clock.sleep(3)
    assert waiting in await town.platform.tenants.removal.customer(customer, force=True)
    await town.platform.follow(waiting)
    for _ in range(15):
        await town.keep_up()
        await town.clock.sleep(3)
    return await town.platform.tenants.removal.customer(customer)


def _kept_of_the_other(place: Place) -> list[str]:
    """Files and documents: these do not move on as a queue and a journal do."""
    found = [*place.kept.places_of(MARKS[STAYS]), *place.kept.places_of(STAYS)]
    return [name for name in found if "file" in name or "catalog" in name]


async def test_nothing_of_a_deleted_customer_is_found_anywhere(town: Town, place: Place) -> None:
    waiting = await _plant(town, GONE)
    await _plant(town, STAYS)
    before = _kept_of_the_other(place)
    assert len(set(place.kept.places_of(MARKS[GONE]))) >= 8, "it was planted"

    assert await _delete(town, GONE, waiting) == ""

    await town.platform.metadata.catch_up()
    assert place.kept.places_of(MARKS[GONE]) == []
    # Whose turn it is a queue forgets as it goes past.
    while lease := await town.platform.stores.queue.take("test", wait_s=0):
        await town.platform.stores.queue.complete(lease)
    assert place.kept.places_of(GONE) == []
    assert _kept_of_the_other(place) == before
    scope = StateScope(tenant=STAYS, instance="orders", flow="take")
    assert await town.platform.stores.state.keys(scope) == [MARKS[STAYS], f"{MARKS[STAYS]}/sum"]
    assert len(await town.platform.stores.records.search(ExecutionQuery(tenant=STAYS))) == 5
    instance = await town.platform.tenants.deployments.get(STAYS, "orders")
    accepted = await town.platform.submission.accept(instance, "take", _trigger("x"))
    assert output_of(await town.ran(accepted.id)) == f"other {MARKS[STAYS]} {MARKS[STAYS]} 10"


class Without:
    """A store of which some methods are others."""

    def __init__(self, store: Any, **methods: Any) -> None:
        self._store = store
        self._methods = methods

    def __getattr__(self, name: str) -> Any:
        return self._methods.get(name) or getattr(self._store, name)


async def _nothing(*_: object, **__: object) -> Any:
    return []


async def _zero(*_: object) -> int:
    return 0


def _kinds(parts: ErasureParts, but: str) -> ErasureParts:
    async def kinds() -> Sequence[str]:
        return [kind for kind in await parts.catalog.kinds() if kind != but]

    return replace(parts, catalog=Without(parts.catalog, kinds=kinds))  # type: ignore[arg-type]  # a store but for one method


LEFT_OUT: dict[str, Callable[[ErasureParts], ErasureParts]] = {
    "records": lambda parts: replace(parts, records=Without(parts.records, search=_nothing)),  # type: ignore[arg-type]
    "journal": lambda parts: replace(parts, journal=Without(parts.journal, forget=_nothing)),  # type: ignore[arg-type]
    "state": lambda parts: replace(parts, state=Without(parts.state, keys=_nothing)),  # type: ignore[arg-type]
    "payloads": lambda parts: replace(parts, payloads=Without(parts.payloads, clear=_zero)),  # type: ignore[arg-type]
    "keys of the API": lambda parts: replace(parts, others=parts.others[1:]),
    "whoever is at a provider": lambda parts: replace(parts, others=parts.others[:1]),
    **{kind: partial(_kinds, but=kind) for kind in ("settings", "connection", *KINDS)},
}


@pytest.mark.parametrize("place", ["embedded"], indirect=True)
@pytest.mark.parametrize("left_out", LEFT_OUT)
async def test_whatever_deletion_leaves_out_is_found(town: Town, place: Place, left_out: str) -> None:
    waiting = await _plant(town, GONE)
    erasure: Any = town.platform.tenants.removal._parts.erasure
    erasure._parts = LEFT_OUT[left_out](erasure._parts)

    await _delete(town, GONE, waiting)

    assert place.kept.places_of(MARKS[GONE]) or place.kept.places_of(GONE)


CUT_SHORT: dict[str, tuple[str, str]] = {
    "as settings were to go": ("catalog", "write"),
    "as its journals were to go": ("journal", "forget"),
    "when its journals were gone": ("records", "remove"),
    "when its executions were gone": ("payloads", "clear"),
    "as an instance's state was to go": ("state", "delete"),
}


@pytest.mark.parametrize("place", ["embedded"], indirect=True)
@pytest.mark.parametrize("when", CUT_SHORT)
async def test_a_deletion_that_was_cut_short_goes_on_where_others_find_it(town: Town, place: Place, when: str) -> None:
    waiting = await _plant(town, GONE)
    await _plant(town, STAYS)
    erasure: Any = town.platform.tenants.removal._parts.erasure
    whole, (store, method) = erasure._parts, CUT_SHORT[when]

    async def dies(*_: object, **__: object) -> Any:
        raise Died

    erasure._parts = replace(whole, **{store: Without(getattr(whole, store), **{method: dies})})
    with pytest.raises(Died):
        await _delete(town, GONE, waiting)
    with pytest.raises(UserError, match="being deleted"):
        await town.deploy(GONE, "another")

    erasure._parts = whole
    await town.platform.follow(waiting)
    for _ in range(15):
        await town.keep_up()
        await town.clock.sleep(3)

    assert await town.platform.tenants.customers.documents.get(GONE) is None
    assert place.kept.places_of(MARKS[GONE]) == []
    assert place.kept.places_of(MARKS[STAYS]) != []


@pytest.mark.parametrize("place", ["embedded"], indirect=True)
async def test_what_is_written_late_goes_as_well_and_only_then_the_keys(town: Town, place: Place) -> None:
    await town.move_in(GONE)
    stores = town.platform.stores
    late = Address(kind="alert", tenant=GONE, name="late")
    await town.platform.tenants.customers.mark_deleting(GONE)
    assert "30 s" in await town.platform.tenants.removal.customer(GONE)
    await stores.catalog.write(CatalogChange(address=late, body=b'"' + MARKS[GONE].encode() + b'"'))
    sealed = await stores.vault.seal(GONE, "late", b"secret")

    await town.clock.sleep(31)
    assert "30 s" in await town.platform.tenants.removal.customer(GONE)
    assert await stores.catalog.get(late) is None
    await town.clock.sleep(31)
    assert await town.platform.tenants.removal.customer(GONE) == ""

    assert place.kept.places_of(GONE) == []
    await town.clock.sleep(CACHED_S)
    with pytest.raises(DoesNotOpen):
        await stores.vault.open(GONE, "late", sealed)


@pytest.mark.parametrize("place", ["embedded"], indirect=True)
async def test_a_deleted_instance_leaves_its_history_and_nothing_that_it_worked_with(town: Town, place: Place) -> None:
    waiting = await _plant(town, GONE)
    platform, deployments = town.platform, town.platform.tenants.deployments
    same = await deployments.show(GONE, "orders")
    new = NewInstance(integration="orders", version="1.0.0", config={"greeting": f"other {MARKS[GONE]}"})
    await deployments.deploy(GONE, "same", new)
    await deployments.delete(GONE, "orders")
    await town.clock.sleep(3)
    await platform.follow(waiting)

    assert await platform.tenants.removal.instance(GONE, "orders") == ""

    for flow in ("", "take"):
        assert not await platform.stores.state.keys(StateScope(tenant=GONE, instance="orders", flow=flow))
    assert not await platform.stores.queue.dead()
    left = {entry.address.name for entry in await platform.stores.catalog.entries("settings", tenant=GONE)}
    others = {(await deployments.show(GONE, name)).deployed.current.settings for name in ("same", "gone-before")}
    assert left == others
    assert same.deployed.current.settings in left
    assert len(await platform.stores.records.search(ExecutionQuery(tenant=GONE, instance="orders"))) == 5
