"""What SQS may do to a queue: lose a hint, bring it twice or late, refuse a part of a batch, hold what is not ours."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from turnout.errors import BackendError, SettingsError, Unsupported
from turnout.interfaces.catalog import Address, CatalogEntry, CatalogStore
from turnout.interfaces.opening import Opening
from turnout.interfaces.queue import Concurrency, Debounce, Lease, LeaseState, QueueCapability, Rate
from turnout.local.memory_catalog import MemoryCatalog
from turnout.model.tenancy import Policies, TenantPolicy
from turnout.testing.queue_fixtures import LEASE_S, bury, message, order, taken
from turnout_lambda.sqs_hints import Hint, Hints
from turnout_lambda.sqs_options import queue_attributes
from turnout_lambda.sqs_queue import SqsQueue

from plugins.lambda_backend.tests.sqs_parts import SharedClock, new_queue, sqs_queue
from plugins.lambda_backend.tests.stand_in import StandIn


@pytest.fixture
def clock(stand_in: StandIn) -> SharedClock:
    return SharedClock(stand_in)


@pytest.fixture
def url(sqs: Any) -> str:
    return new_queue(sqs)


@pytest.fixture
def catalog() -> CatalogStore:
    return MemoryCatalog()


@pytest.fixture
def queue(sqs: Any, url: str, clock: SharedClock, catalog: CatalogStore) -> Iterator[SqsQueue]:
    queue = sqs_queue(Hints(sqs, url, clock), catalog, clock, Policies())
    yield queue
    asyncio.run(queue.close())


class Distant(MemoryCatalog):
    """Much happens until its answer has come."""

    async def get(self, address: Address) -> CatalogEntry | None:
        entry = await super().get(address)
        await asyncio.to_thread(time.sleep, 0.02)
        return entry


def there(sqs: Any, url: str) -> int:
    """How many messages SQS has, visible or not."""
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return sum(int(attributes[f"ApproximateNumberOfMessages{which}"]) for which in ("", "NotVisible", "Delayed"))


async def test_a_message_that_ran_leaves_nothing_in_sqs(queue: SqsQueue, sqs: Any, url: str) -> None:
    await queue.put(message("e1"))
    await queue.release(await taken(queue))
    await queue.fail(await taken(queue), reason="no network")
    await queue.complete(await taken(queue))

    assert there(sqs, url) == 0


async def test_dead_and_dropped_messages_leave_nothing_in_sqs_once_somebody_looked(
    queue: SqsQueue, sqs: Any, url: str
) -> None:
    await queue.put(message("dead"))
    await bury(queue)
    await queue.put(message("dropped"))
    await queue.drop("dropped")

    assert await queue.take("host:1:a", wait_s=0) is None
    assert there(sqs, url) == 0


async def test_a_hint_that_sqs_lost_is_sent_again_by_reap(
    queue: SqsQueue, sqs: Any, url: str, clock: SharedClock
) -> None:
    await queue.put(message("e1"))
    await queue.put(message("later"), delay_s=1000)
    sqs.purge_queue(QueueUrl=url)

    await queue.reap()
    lost = await queue.take("host:1:a", wait_s=0)
    clock.advance(61)
    await queue.reap()
    await queue.reap()

    assert lost is None
    assert there(sqs, url) == 1
    assert await order(queue) == ["e1"]


async def test_while_sqs_has_something_to_give_only_what_waits_for_very_long_is_sent_again(
    queue: SqsQueue, sqs: Any, url: str, clock: SharedClock
) -> None:
    for n in range(3):
        await queue.put(message(f"e{n}"))

    clock.advance(61)
    await queue.reap()
    after_a_minute = there(sqs, url)
    clock.advance(3600)
    await queue.reap()
    after_an_hour = there(sqs, url)
    clock.advance(61)
    await queue.reap()

    assert (after_a_minute, after_an_hour, there(sqs, url)) == (3, 6, 6)
    assert sorted(await order(queue)) == ["e0", "e1", "e2"]


async def test_a_hint_that_comes_twice_starts_nothing_twice(queue: SqsQueue, sqs: Any, url: str) -> None:
    await queue.put(message("e1"))
    received = sqs.receive_message(QueueUrl=url, VisibilityTimeout=0)["Messages"]
    sqs.send_message(QueueUrl=url, MessageBody=received[0]["Body"])

    lease = await taken(queue)
    again = await queue.take("host:2:b", wait_s=0)
    await queue.complete(lease)

    assert again is None
    assert list(await queue.missing(["e1"])) == ["e1"]


async def test_an_old_hint_of_a_message_that_was_put_again_counts_no_more(
    queue: SqsQueue, sqs: Any, url: str, clock: SharedClock
) -> None:
    await queue.put(message("e1"))
    await queue.drop("e1")
    await queue.put(message("e1"), delay_s=100)

    assert await queue.take("host:1:a", wait_s=0) is None
    assert there(sqs, url) == 1
    clock.advance(101)
    assert await order(queue) == ["e1"]


async def test_a_delay_longer_than_sqs_knows_hops_on_and_hides_nothing(
    queue: SqsQueue, sqs: Any, url: str, clock: SharedClock
) -> None:
    await queue.put(message("e1"), delay_s=3000)
    hidden, early = [], []

    for _ in range(3):
        clock.advance(901)
        early.append(await queue.take("host:1:a", wait_s=0))
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        hidden.append(attributes["ApproximateNumberOfMessagesNotVisible"])
    clock.advance(300)

    assert (early, hidden) == ([None] * 3, ["0"] * 3)
    assert await order(queue) == ["e1"]


async def test_what_is_none_of_ours_is_left_to_the_dead_letters_of_sqs(
    queue: SqsQueue, sqs: Any, url: str, clock: SharedClock
) -> None:
    dead = new_queue(sqs)
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    attributes = queue_attributes(arn)
    sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
    for body in ("not json", "[]", json.dumps({"turnout": 2, "id": "e9"}), json.dumps({"turnout": 1, "id": "e9"})):
        sqs.send_message(QueueUrl=url, MessageBody=body)
    await queue.put(message("e1"))

    lease = await taken(queue)
    await queue.complete(lease)
    for _ in range(101):
        clock.advance(LEASE_S + 1)
        await queue.take("host:1:a", wait_s=0)

    assert lease.message.id == "e1"
    assert (there(sqs, dead), there(sqs, url)) == (4, 0)


async def test_what_sqs_takes_only_in_part_is_sent_again(sqs: Any, url: str, clock: SharedClock) -> None:
    hints, failing = Hints(sqs, url, clock), iter([True, False])

    def refuse_some(parsed: dict[str, Any], **_: object) -> None:
        if next(failing, False):
            refused = parsed["Successful"].pop()
            sqs_lost.append(refused["Id"])
            parsed["Failed"] = [{"Id": refused["Id"], "SenderFault": False, "Code": "InternalError"}]

    sqs_lost: list[str] = []
    sqs.meta.events.register("after-call.sqs.SendMessageBatch", refuse_some)

    await hints.send([Hint(id=f"e{n}", tenant="acme", ticket="t") for n in range(12)])

    received = [json.loads(one["Body"])["id"] for one in _all(sqs, url)]
    assert len(sqs_lost) == 1
    assert set(received) == {f"e{n}" for n in range(12)}
    assert len(received) == 13  # the stand-in had taken the one that it was made to refuse


async def test_a_put_that_sqs_refuses_leaves_nothing_behind(
    queue: SqsQueue, sqs: Any, url: str, catalog: CatalogStore
) -> None:
    sqs.delete_queue(QueueUrl=url)

    with pytest.raises(BackendError, match="SQS did not take messages"):
        await queue.put(message("e1"))

    assert list(await queue.missing(["e1"])) == ["e1"]
    assert list(await catalog.kinds()) == []


async def test_leases_are_renewed_in_sqs_as_well_and_more_than_ten_at_once(
    queue: SqsQueue, sqs: Any, url: str, clock: SharedClock
) -> None:
    for n in range(12):
        await queue.put(message(f"e{n}"))
    leases = [await taken(queue) for _ in range(12)]

    clock.advance(LEASE_S - 1)
    states = await queue.extend(leases)
    clock.advance(LEASE_S - 1)

    assert set(states) == {LeaseState.HELD}
    assert _all(sqs, url) == []


async def test_another_process_renews_and_ends_a_lease_in_sqs_as_well(
    queue: SqsQueue, sqs: Any, url: str, clock: SharedClock, catalog: CatalogStore
) -> None:
    other = sqs_queue(Hints(sqs, url, clock), catalog, clock, Policies())
    await queue.put(message("e1"))
    lease = await taken(queue)
    clock.advance(LEASE_S - 1)

    states = await other.extend([lease])
    clock.advance(LEASE_S - 1)
    hidden = _all(sqs, url)
    completed = await other.complete(lease)

    assert (list(states), hidden, completed) == ([LeaseState.HELD], [], True)
    assert there(sqs, url) == 0


async def test_of_many_who_take_at_once_each_message_has_one_holder(sqs: Any, url: str, clock: SharedClock) -> None:
    catalog = Distant()
    queues = [sqs_queue(Hints(sqs, url, clock), catalog, clock, Policies()) for _ in range(4)]
    for n in range(24):
        await queues[0].put(message(f"e{n}"))
    for hint in _all(sqs, url):
        for _ in range(3):  # each comes as often
            sqs.send_message(QueueUrl=url, MessageBody=hint["Body"])

    async def take_all(queue: SqsQueue, worker: str) -> list[Lease]:
        leases: list[Lease] = []
        while found := await queue.take_many(worker, limit=3, wait_s=0):
            leases += found
        return leases

    found = await asyncio.gather(*[take_all(queue, f"host:{n}:a") for n, queue in enumerate(queues)])

    assert sorted(lease.message.id for leases in found for lease in leases) == sorted(f"e{n}" for n in range(24))


async def test_hundreds_wait_and_all_come(queue: SqsQueue, clock: SharedClock) -> None:
    await asyncio.gather(*[queue.put(message(f"e{n}")) for n in range(60)])
    leases: list[Lease] = []
    while found := await queue.take_many("host:1:a", limit=16, wait_s=0):
        leases += found

    assert sorted(lease.message.id for lease in leases) == sorted(f"e{n}" for n in range(60))


async def test_messages_carry_their_customer_as_a_group_that_shows_no_name(queue: SqsQueue, sqs: Any, url: str) -> None:
    for n, tenant in enumerate(("acme", "acme", "globex & söns")):
        await queue.put(message(f"e{n}", tenant=tenant))

    groups = [one["Attributes"]["MessageGroupId"] for one in _all(sqs, url)]

    assert groups[0] == groups[1] != groups[2]
    assert all(group.isalnum() for group in groups)


@pytest.mark.parametrize("limit", ["rates", "concurrency", "order", "debounce"])
async def test_what_it_does_not_declare_it_refuses(queue: SqsQueue, limit: str) -> None:
    limits: dict[str, Any] = {
        "rates": (Rate(key="k", most=1, window_s=1.0),),
        "concurrency": (Concurrency(key="k", most=1),),
        "order": "k",
        "debounce": Debounce(key="k", wait_s=1.0),
    }

    with pytest.raises(Unsupported):
        await queue.put(message("e1", **{limit: limits[limit]}))

    assert queue.capabilities == {QueueCapability.CLAIM}
    assert list(await queue.missing(["e1"])) == ["e1"]


async def test_the_waiting_are_counted_only_where_a_capacity_asks_for_it(
    sqs: Any, url: str, clock: SharedClock, catalog: CatalogStore
) -> None:
    policies = Policies(tenants={"small": TenantPolicy(capacity=2)})
    queue = sqs_queue(Hints(sqs, url, clock), catalog, clock, policies)

    await queue.put(message("e1"))
    plain = list(await catalog.kinds())
    await queue.put(message("e2", tenant="small"))

    assert plain == ["queue:main"]
    assert list(await catalog.kinds()) == ["queue:main", "queue:main:waiting"]


def opening(directory: Path, catalog: CatalogStore, **options: object) -> Opening:
    async def opened() -> CatalogStore:
        return catalog

    return Opening(directory=directory, name="sqs", options=options, catalog=opened)


@pytest.mark.parametrize("by_url", [False, True])
async def test_it_is_opened_by_name_or_url(
    stand_in: StandIn, sqs: Any, url: str, tmp_path: Path, catalog: CatalogStore, by_url: bool
) -> None:
    name = url if by_url else url.rpartition("/")[2]
    queue = await SqsQueue.connect(opening(tmp_path, catalog, queue=name, endpoint_url=stand_in.url))

    await queue.put(message("e1"))
    lease = await queue.take("host:1:a", wait_s=5)
    await queue.close()

    assert lease is not None
    assert queue.durability is catalog.durability


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"FifoQueue": "true"}, "a standard queue is needed"),
        ({"RedrivePolicy": '{"maxReceiveCount": 3, "deadLetterTargetArn": "%s"}'}, "after 3 receives"),
    ],
)
async def test_a_queue_that_would_not_do_is_refused(
    stand_in: StandIn, sqs: Any, tmp_path: Path, catalog: CatalogStore, attributes: dict[str, str], text: str
) -> None:
    dead = sqs.get_queue_attributes(QueueUrl=new_queue(sqs), AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    name = f"turnout-unfit-{len(text)}" + (".fifo" if "FifoQueue" in attributes else "")
    url = sqs.create_queue(
        QueueName=name, Attributes={key: value.replace("%s", dead) for key, value in attributes.items()}
    )["QueueUrl"]

    with pytest.raises(SettingsError, match=text) as raised:
        await SqsQueue.connect(opening(tmp_path, catalog, queue=url, endpoint_url=stand_in.url))

    assert raised.value.setting == "backends.sqs.queue"


async def test_a_queue_that_is_not_there_is_the_settings_fault(
    stand_in: StandIn, tmp_path: Path, catalog: CatalogStore
) -> None:
    with pytest.raises(SettingsError, match="there is no queue 'no-such'") as raised:
        await SqsQueue.connect(opening(tmp_path, catalog, queue="no-such", endpoint_url=stand_in.url))

    assert raised.value.setting == "backends.sqs.queue"


def _all(sqs: Any, url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while got := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]).get(
        "Messages"
    ):
        found += got
    return found
