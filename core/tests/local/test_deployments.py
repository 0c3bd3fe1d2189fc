"""Versions of integrations deployed to customers: what each runs, how it changes, goes back, and ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from turnout.errors import NotFound, Paused, SettingsError, UserError
from turnout.interfaces.records import ExecutionQuery
from turnout.services.connections import ConnectionState, NewConnection
from turnout.services.instances import Changes, NewInstance

from core.tests.local.town import HOOKS, ORDERS, Town, output_of, town_in

SECOND = ORDERS.replace("1.0.0", "2.0.0")


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with town_in(tmp_path) as made:
        yield made


async def test_two_customers_run_the_same_version_each_with_what_is_theirs(town: Town, tmp_path: Path) -> None:
    await town.publish(ORDERS, tmp_path)
    await town.move_in("acme", "globex")
    await town.deploy("acme")
    await town.deploy("globex", greeting="hi", size=3)
    await town.deploy("globex", "second")

    assert await town.called("acme") == "hello acme 10"
    assert await town.called("globex") == "hi globex 3"
    assert await town.called("globex", "second") == "hello globex 10"

    records = await town.platform.stores.records.search(ExecutionQuery(tenant="acme"))
    assert [(record.info.instance, record.info.version) for record in records] == [("orders", "1.0.0")]


async def test_a_published_version_never_changes(town: Town, tmp_path: Path) -> None:
    first = await town.publish(ORDERS, tmp_path)
    again = await town.publish(ORDERS, tmp_path)

    assert (first.new, again.new) == (True, False)
    with pytest.raises(UserError, match="raise `version`"):
        await town.publish(ORDERS.replace("default: 10", "default: 11"), tmp_path)
    assert (await town.platform.tenants.versions.get("orders")) == first.version


async def test_versions_are_found_by_name_with_a_hint(town: Town, tmp_path: Path) -> None:
    await town.publish(ORDERS, tmp_path)
    await town.publish(SECOND, tmp_path)
    versions = town.platform.tenants.versions

    assert (await versions.get("orders")).version == "2.0.0"
    assert [one.version for one in await versions.of("orders")] == ["2.0.0", "1.0.0"]
    with pytest.raises(NotFound, match="did you mean 'orders'"):
        await versions.get("order")
    with pytest.raises(NotFound, match=r"did you mean '1\.0\.0'"):
        await versions.get("orders", "1.0.1")
    with pytest.raises(UserError, match="no version to publish"):
        await town.publish(ORDERS.replace("1.0.0", "'../1'"), tmp_path)


async def test_all_that_is_missing_is_said_at_once_and_nothing_is_made(town: Town, tmp_path: Path) -> None:
    await town.publish(ORDERS, tmp_path)
    await town.platform.tenants.customers.create("acme")
    new = NewInstance(integration="orders", config={"size": "many", "greting": "x"}, connections={"epr": "erp"})

    with pytest.raises(SettingsError) as raised:
        await town.platform.tenants.deployments.deploy("acme", "orders", new)

    for said in (
        "'greeting' is not set",
        "'size' must be a whole number",
        "did you mean 'greeting'",
        "did you mean 'erp'",
    ):
        assert said in str(raised.value)
    assert "connection 'erp' is not set" in str(raised.value)
    with pytest.raises(NotFound, match="has none"):
        await town.platform.tenants.deployments.show("acme", "orders")


async def test_a_connection_of_another_connector_type_is_refused(town: Town, tmp_path: Path) -> None:
    await town.publish(ORDERS, tmp_path)
    await town.move_in("acme")
    new = NewConnection(connector="erp", type="token", fields={"token": "t"})
    await town.platform.connections.create("acme", "tok", new)
    wanted = NewInstance(integration="orders", config={"greeting": "x"}, connections={"erp": "tok"})

    with pytest.raises(SettingsError, match=r"must be of erp\.basic; 'tok' is of erp\.token"):
        await town.platform.tenants.deployments.deploy("acme", "orders", wanted)


async def test_an_upgrade_keeps_what_was_given_and_goes_back_with_what_it_had(town: Town, tmp_path: Path) -> None:
    deployments = town.platform.tenants.deployments
    await town.publish(ORDERS, tmp_path)
    await town.move_in("acme")
    await town.deploy("acme")
    await town.publish(SECOND.replace("default: 10", "default: 20"), tmp_path)

    await deployments.upgrade("acme", "orders", Changes(version="2.0.0", config={"greeting": "good day"}))
    assert await town.called("acme") == "good day acme 20"

    await deployments.rollback("acme", "orders")
    assert await town.called("acme") == "hello acme 10"
    await deployments.rollback("acme", "orders")
    assert await town.called("acme") == "good day acme 20"


@pytest.mark.parametrize(
    ("before", "after", "changes", "said"),
    [
        ("greeting: {type: string}", "greeting: {type: integer}", Changes(), "'greeting' must be a whole number"),
        ("greeting: {type: string}", "farewell: {type: string}", Changes(), "'farewell' is not set"),
        ("erp: {connector: erp, type: basic}", "erp: {connector: erp, type: token}", Changes(), "must be of erp.token"),
        (
            "erp: {connector: erp, type: basic}",
            "erp: {connector: erp}\n  crm: {connector: erp}",
            Changes(),
            "'crm' is not set",
        ),
        ("x", "x", Changes(connections={"erp": "epr"}), "did you mean 'erp'"),
        ("x", "x", Changes(config={"nothing": 1}), "'nothing' is not a config variable"),
        ("x", "x", Changes(unset=("greeting",)), "'greeting' is not set"),
    ],
    ids=["type", "missing", "connection type", "slot", "no connection", "unknown", "unset"],
)
async def test_an_upgrade_that_lacks_something_changes_nothing(
    town: Town, tmp_path: Path, before: str, after: str, changes: Changes, said: str
) -> None:
    deployments = town.platform.tenants.deployments
    await town.publish(ORDERS, tmp_path)
    await town.move_in("acme")
    await town.deploy("acme")
    text = SECOND.replace(before, after).replace("${{ config.greeting }}", "x") if before != "x" else SECOND
    await town.publish(text, tmp_path)
    wanted = Changes(version="2.0.0", config=changes.config, unset=changes.unset, connections=changes.connections)

    checked = await deployments.check("acme", "orders", wanted)
    with pytest.raises(SettingsError, match="nothing was changed") as raised:
        await deployments.upgrade("acme", "orders", wanted)

    assert said in str(raised.value)
    assert any(said in problem for problem in checked.problems)
    assert (await deployments.show("acme", "orders")).deployed.current.version == "1.0.0"
    assert await town.called("acme") == "hello acme 10"


async def test_what_a_version_knows_no_more_is_told_and_comes_back_with_it(town: Town, tmp_path: Path) -> None:
    deployments = town.platform.tenants.deployments
    await town.publish(ORDERS, tmp_path)
    await town.move_in("acme")
    await town.deploy("acme", size=7)
    text = SECOND.replace("  size: {type: integer, default: 10}\n", "").replace(" ${{ config.size }}", "")
    await town.publish(text, tmp_path)

    upgraded = await deployments.upgrade("acme", "orders", Changes(version="2.0.0"))
    assert any("'size'" in note for note in upgraded.notes)
    assert await town.called("acme") == "hello acme"
    await deployments.rollback("acme", "orders")
    assert await town.called("acme") == "hello acme 7"


async def test_an_execution_goes_on_with_the_version_that_it_began_with(town: Town, tmp_path: Path) -> None:
    await town.publish(ORDERS, tmp_path)
    await town.move_in("acme")
    await town.deploy("acme")
    accepted = (await town.send("/hooks/acme/orders/take")).json()["execution"]
    await town.publish(SECOND, tmp_path)
    await town.platform.tenants.deployments.upgrade(
        "acme", "orders", Changes(version="2.0.0", config={"greeting": "other"})
    )

    record = await town.ran(accepted)
    assert (record.info.version, output_of(record)) == ("1.0.0", "hello acme 10")
    assert (await town.platform.stores.bundles.load(record.info.bundle)).integration.version == "1.0.0"


async def test_a_paused_instance_and_a_suspended_customer_take_nothing_in(town: Town, tmp_path: Path) -> None:
    tenants = town.platform.tenants
    await town.publish(ORDERS, tmp_path)
    await town.move_in("acme", "globex")
    await town.deploy("acme")
    await town.deploy("globex")
    running = (await town.send("/hooks/acme/orders/take")).json()["execution"]

    await tenants.deployments.pause("acme", "orders")
    refused = await town.send("/hooks/acme/orders/take")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "60")
    assert [one.tenant async for one in tenants.deployments.active()] == ["globex"]
    assert output_of(await town.ran(running)) == "hello acme 10"

    await tenants.deployments.resume("acme", "orders")
    assert await town.called("acme") == "hello acme 10"
    await tenants.customers.suspend("acme")
    with pytest.raises(Paused, match="suspended"):
        await tenants.deployments.get("acme", "orders")
    assert await town.called("globex") == "hello globex 10"
    await tenants.customers.resume("acme")
    assert await town.called("acme") == "hello acme 10"


async def test_a_webhook_to_nobody_learns_no_names(town: Town, tmp_path: Path) -> None:
    await town.publish(ORDERS, tmp_path)
    await town.move_in("acme")
    await town.deploy("acme")

    for customer, name in (("acne", "orders"), ("acme", "order")):
        answer = await town.send(f"/hooks/{customer}/{name}/take")
        assert (answer.status_code, answer.json()) == (404, {"error": f"no instance {name!r}"})


async def test_lifecycle_flows_run_as_executions_of_the_instance(town: Town, tmp_path: Path) -> None:
    deployments, removal = town.platform.tenants.deployments, town.platform.tenants.removal
    await town.publish(ORDERS + HOOKS, tmp_path)
    await town.publish((SECOND + HOOKS).replace("default: 10", "default: 1"), tmp_path)
    await town.move_in("acme")
    new = NewInstance(integration="orders", version="1.0.0", config={"greeting": "x"})
    deployed = (await deployments.deploy("acme", "orders", new)).deployed
    assert deployed.lifecycle is not None
    told = output_of(await town.ran(deployed.lifecycle.execution))
    assert told == {"event": "deploy", "instance": "orders", "version": "1.0.0", "version_before": None}

    upgraded = (await deployments.upgrade("acme", "orders", Changes(version="2.0.0"))).deployed
    assert upgraded.lifecycle is not None
    told = output_of(await town.ran(upgraded.lifecycle.execution))
    assert told == {"event": "upgrade", "instance": "orders", "version": "2.0.0", "version_before": "1.0.0"}

    await deployments.delete("acme", "orders")
    assert (await town.send("/hooks/acme/orders/take")).status_code == 503
    await town.clock.sleep(3)
    said = [await removal.instance("acme", "orders") for _ in range(2)][-1]
    assert "on_delete" in said
    lifecycle = (await deployments.show("acme", "orders")).deployed.lifecycle
    assert lifecycle is not None
    assert output_of(await town.ran(lifecycle.execution))["event"] == "delete"
    assert await removal.instance("acme", "orders") == ""
    assert (await town.send("/hooks/acme/orders/take")).status_code == 404


async def test_a_lifecycle_flow_that_was_left_behind_is_started_once(town: Town, tmp_path: Path) -> None:
    deployments = town.platform.tenants.deployments
    await town.publish(ORDERS + HOOKS, tmp_path)
    await town.move_in("acme")
    await town.deploy("acme")
    document = await deployments.documents.get("orders", tenant="acme")
    assert document is not None
    assert document.value.lifecycle is not None

    await town.keep_up(2)

    found = await town.platform.stores.records.search(ExecutionQuery(tenant="acme"))
    await town.platform.metadata.catch_up()
    found = await town.platform.stores.records.search(ExecutionQuery(tenant="acme"))
    assert [record.info.id for record in found] == [document.value.lifecycle.execution]
    assert await deployments.documents.due(town.clock.now()) == []


async def test_a_delete_waits_for_what_runs_and_by_force_cancels_it(town: Town, tmp_path: Path) -> None:
    deployments, removal = town.platform.tenants.deployments, town.platform.tenants.removal
    await town.publish(ORDERS, tmp_path)
    await town.move_in("acme")
    await town.deploy("acme")
    running = (await town.send("/hooks/acme/orders/take")).json()["execution"]
    await deployments.delete("acme", "orders")
    await town.clock.sleep(3)

    assert running in await removal.instance("acme", "orders")
    with pytest.raises(UserError, match="being deleted"):
        await deployments.rollback("acme", "orders")
    await town.ran(running)
    await town.clock.sleep(3)
    await town.keep_up()
    with pytest.raises(NotFound):
        await deployments.show("acme", "orders")

    await town.deploy("acme")
    running = (await town.send("/hooks/acme/orders/take")).json()["execution"]
    await deployments.delete("acme", "orders")
    await town.clock.sleep(3)
    assert running in await removal.instance("acme", "orders", force=True)
    assert (await town.ran(running)).status.value == "cancelled"
    assert await removal.instance("acme", "orders", force=True) == ""


async def test_an_on_delete_that_fails_keeps_the_instance_until_somebody_decides(town: Town, tmp_path: Path) -> None:
    deployments, removal = town.platform.tenants.deployments, town.platform.tenants.removal
    failing = HOOKS.replace('output: "${{ trigger.body }}"}}]\n  goodbye', "output: 1}}]\n  goodbye")
    failing = failing.replace('stop: {output: "${{ trigger.body }}"}', "stop: {error: the other side is down}")
    await town.publish(ORDERS + failing, tmp_path)
    await town.move_in("acme")
    await town.deploy("acme")
    first = (await deployments.show("acme", "orders")).deployed.lifecycle
    assert first is not None
    await town.ran(first.execution)
    await deployments.delete("acme", "orders")
    await town.clock.sleep(3)
    await removal.instance("acme", "orders")
    lifecycle = (await deployments.show("acme", "orders")).deployed.lifecycle
    assert lifecycle is not None
    await town.ran(lifecycle.execution)

    said = await removal.instance("acme", "orders")
    assert "the other side is down" in said
    kept = (await deployments.show("acme", "orders")).deployed.lifecycle
    assert kept is not None
    assert "the other side is down" in kept.trouble
    assert await removal.instance("acme", "orders", force=True) == ""


async def test_a_customer_goes_with_everything_that_is_theirs(town: Town, tmp_path: Path) -> None:
    tenants = town.platform.tenants
    await town.publish(ORDERS, tmp_path)
    await town.move_in("acme", "globex")
    await town.deploy("acme")
    await town.deploy("globex")
    assert await town.called("acme") == "hello acme 10"

    await tenants.customers.mark_deleting("acme")
    with pytest.raises(UserError, match="being deleted"):
        await town.deploy("acme", "another")
    with pytest.raises(UserError, match="being deleted"):
        await town.platform.connections.create("acme", "new", NewConnection(connector="erp", type="basic"))
    await town.keep_up()
    await town.clock.sleep(3)
    await town.keep_up()
    await town.clock.sleep(30)
    await town.keep_up()

    with pytest.raises(NotFound):
        await tenants.customers.get("acme")
    for kind in ("connection", "instance", "settings", "data-key"):
        assert not await town.platform.stores.catalog.entries(kind, tenant="acme"), kind
        assert await town.platform.stores.catalog.entries(kind, tenant="globex"), kind
    assert await town.called("globex") == "hello globex 10"


async def test_a_broken_connection_is_told_and_does_not_hinder(town: Town, tmp_path: Path) -> None:
    await town.publish(ORDERS, tmp_path)
    await town.move_in("acme")
    await town.platform.connections.mark("acme", "erp", ConnectionState.BROKEN, "its password was refused")
    new = NewInstance(integration="orders", config={"greeting": "x"})

    deployed = await town.platform.tenants.deployments.deploy("acme", "orders", new)
    assert deployed.notes == ("connection 'erp' is broken: its password was refused",)
    with pytest.raises(UserError, match="is used by orders"):
        await town.platform.connections.remove("acme", "erp")
