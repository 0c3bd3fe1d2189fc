"""The crash matrix: SIGKILL at every point of the 6-step integration and of a loop, and what goes on after it.

A point is before or after each write to the journal, each call of the queue, each run of a sandbox, each action, and each
HTTP request on the side that receives it. The processes, the signal, the stores and the effects are real.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from turnout.model.execution import Status
from turnout.values import Value
from turnout_connectors.standins.serving import serving

from tests.crash.cases import KILLED, Case, Left, Point, Program, Workload, left_behind, programs
from tests.crash.counterpart import ERP_TOKEN, FILES_TOKEN, Counterpart

ROOT = Path(__file__).parents[2]
NAMES = ["pear", "banana"]
WRITES_AT_LEAST = 5
LOOP = """
integration: pricing
version: 1.0.0
config: {shop_url: {type: string}}
connections: {erp: {connector: http, type: bearer}}
flows:
  each-order:
    trigger: {webhook: {}}
    steps:
      - id: each
        loop:
          over: "${{ trigger.body }}"
          as: name
          collect: "${{ steps.post.json.receipt }}"
          steps:
            - {id: get, action: http.request, with: {url: "${{ config.shop_url }}/prices/${{ name }}"}}
            - id: double
              code: |
                export default ({ price }) => price * 2
              with: {price: "${{ steps.get.json.price }}"}
            - id: post
              action: http.request
              connection: erp
              with:
                method: POST
                url: "${{ config.shop_url }}/orders"
                json: {name: "${{ name }}", price: "${{ steps.double }}"}
                idempotency_header: Idempotency-Key
      - {id: done, stop: {output: "${{ steps.each }}"}}
"""

WAIT = """
integration: pricing
version: 1.0.0
config: {shop_url: {type: string}}
connections: {erp: {connector: http, type: bearer}}
flows:
  each-order:
    trigger: {webhook: {}}
    steps:
      - id: post
        action: http.request
        connection: erp
        with: {method: POST, url: "${{ config.shop_url }}/orders", json: 1, idempotency_header: Idempotency-Key}
      - id: think
        code: |
          export default () => new Promise((resolve) => setTimeout(resolve, 700, "thought"))
      - {id: answer, wait: {callback: true}}
      - {id: done, stop: {output: ["${{ steps.think }}", "${{ steps.answer }}"]}}
"""


@dataclass
class Matrix:
    """Runs cases of one workload, several at a time, and collects what is wrong with each."""

    directory: Path
    workload: Workload
    counterpart: Counterpart
    url: str
    free: asyncio.Queue[Program]
    made: int = 0

    @property
    def template(self) -> Path:
        return self.directory / "template"

    @asynccontextmanager
    async def case(self) -> AsyncIterator[Case]:
        program = await self.free.get()
        self.made += 1
        try:
            yield Case.make(
                f"case-{self.made}",
                template=self.template,
                counterpart=self.counterpart,
                url=self.url,
                workload=self.workload,
                program=program,
            )
        finally:
            self.free.put_nowait(program)

    async def build(self) -> None:
        """Build the bundle once, for all cases."""
        self.template.mkdir(parents=True)
        async with self.case() as case:
            assert await case.do("deploy") == 0, case.log()
            (case.directory / ".turnout" / "turnout.db").unlink()
            case.directory.rename(self.directory / "deployed")
        self.template.rmdir()
        (self.directory / "deployed").rename(self.template)
        (self.template / "trace").unlink()

    async def prepare(self) -> tuple[list[Point], int]:
        """The points of an undisturbed run, and how many requests it makes."""
        await self.build()
        async with self.case() as case:
            assert await case.do("run") == 0, case.log()
            # How often a heartbeat comes is the machine's to say: those have a test of their own.
            return [point for point in case.points() if "queue.extend" not in point[0]], case.side.requests.total()

    async def every(self, points: Sequence[Any], check: Callable[[Case, Any], Awaitable[list[str]]]) -> list[str]:
        async def one(point: Any) -> list[str]:
            async with self.case() as case:
                try:
                    faults = await check(case, point)
                except Exception as error:
                    faults = [f"{type(error).__name__}: {error}"]
                return [f"{point}: {fault}" for fault in faults]

        return [fault for faults in await asyncio.gather(*map(one, points)) for fault in faults]


@asynccontextmanager
async def matrix(directory: Path, workload: Workload) -> AsyncIterator[Matrix]:
    counterpart = Counterpart()
    async with serving(counterpart) as url, programs(2) as free:
        yield Matrix(directory / "cases", workload, counterpart, url, free)


def loop(directory: Path, text: str = LOOP) -> Workload:
    (directory / "integration.yaml").write_text(text)
    return Workload(
        project=directory / "integration.yaml",
        flow="each-order",
        config={"shop_url": "{url}"},
        connections={"erp": {"token": ERP_TOKEN}},
        body=NAMES,
    )


ORDERS = Workload(
    project=ROOT / "examples" / "orders" / "integration.yaml",
    flow="sync-orders",
    config={"erp_url": "{url}"},
    connections={"erp": {"token": ERP_TOKEN}, "files": {"access_token": FILES_TOKEN, "base_url": "{url}"}},
)


async def die(case: Case, point: Any) -> list[str]:
    """Kill the first process at the point: one of its own, or a request's number with `before` or `after`."""
    if isinstance(point[0], int):
        case.side.kill_at, case.side.after = point[0], point[1] == "after"
        status = await case.do("run")
        case.side.kill_at = None
    else:
        status = await case.do("run", at=point)
    if status == KILLED or (status == 0 and written_together(case, point)):
        return []
    return [f"the process ended with {status} and was not killed: {case.log()}"]


def written_together(case: Case, point: Point) -> bool:
    """A late write that this process did not make. What was read is written some milliseconds later, or with the next row if that
    comes first, so a slower run writes more often; how often each run writes at the least has no part in that."""
    name, number = point
    return name.startswith("journal.append") and number >= WRITES_AT_LEAST and point not in case.points()


async def settled(case: Case, *, parks: bool = False) -> tuple[list[str], Left]:
    """Go on until all is over; what must hold whatever ran and wherever it died."""
    faults = []
    if await case.do("recover") != 0:
        faults.append(f"going on failed: {case.log()}")
    left = await left_behind(case)
    for record in list(left.records.values()):
        if parks and record.status is Status.PARKED:
            faults += await decide(case, record)
            left = await left_behind(case)
    accepted = ("0-run", "journal.begin/after") in case.lines("point")
    if accepted and not left.records:
        faults.append("an accepted execution is gone")
    faults += [
        f"execution is {record.status}: {record.error}"
        for record in left.records.values()
        if record.status is not Status.SUCCEEDED
    ]
    faults += case.twice()
    if left.messages or left.rows:
        faults.append(f"{left.messages} messages and {left.rows} rows are left")
    if left.unnamed or left.missing:
        faults.append(f"content that nobody names: {left.unnamed}; that is gone: {left.missing}")
    if case.orphans:
        faults.append(f"{case.orphans} processes outlived their parent")
    return faults, left


async def decide(case: Case, record: Any) -> list[str]:
    """Look on the other side, as a person would, and say what happened."""
    [parked] = [step for step in record.steps if step.status == "parked"]
    name = NAMES[int(parked.path.partition("[")[2].partition("]")[0])]
    receipts = [order.receipt for order in case.side.erp.accepted if order.body["name"] == name]
    output = {"json": {"receipt": receipts[0]}} if receipts else None
    status = await case.do("decide", id=record.info.id, output=output)
    return [] if status == 0 else [f"deciding failed: {case.log()}"]


def all_points(points: list[Point], requests: int) -> list[Any]:
    return [*points, *((number, when) for number in range(requests) for when in ("before", "after"))]


async def check_orders(case: Case, point: Any) -> list[str]:
    faults = await die(case, point)
    more, left = await settled(case)
    faults += more
    if left.records:
        [record] = left.records.values()
        sent = sum(order.times_sent for order in case.side.erp.accepted)
        # The step has `retry`: its author accepts that the one POST which was under way is sent again.
        if not 1 <= sent <= 2 or len({str(order.body) for order in case.side.erp.accepted}) != 1:
            faults.append(f"the ERP got {[order.body['batch'] for order in case.side.erp.accepted]}")
        if {order.body["batch"] for order in case.side.erp.accepted} != {1}:
            faults.append("the batch was counted twice")
        if {step.path for step in record.steps} != {"fetch", "parse", "large", "batch", "post", "result"}:
            faults.append(f"the record has {[step.path for step in record.steps]}")
    return faults


async def check_loop(case: Case, point: Any, *, parks: bool = False) -> list[str]:
    faults = await die(case, point)
    more, left = await settled(case, parks=parks)
    accepted = [order.body for order in case.side.erp.accepted]
    wanted = [{"name": name, "price": 2 * len(name)} for name in NAMES] if left.records else []
    if accepted != wanted:
        more.append(f"the ERP accepted {accepted}")
    return faults + more


async def check_parking_loop(case: Case, point: Any) -> list[str]:
    """Without a key nobody knows whether a POST under way took effect: it waits for a person."""
    faults = await check_loop(case, point, parks=True)
    decided = [phase for phase in case.phases if phase.endswith("decide")]
    posting = point[0] in ("action before", "action after") or (isinstance(point[0], int) and point[0] % 2 == 1)
    if len(decided) != posting:
        faults.append(f"it was parked {len(decided)} times")
    return faults


async def check_second_death(case: Case, point: Any) -> list[str]:
    """Die in the loop's second item, then at the point of the process that goes on."""
    await die(case, ("sandbox.run after", 1))
    status = await case.do("recover", at=point)
    # What was read is written some milliseconds later: on a busy machine the first process got further before it died.
    reached = status == KILLED or point in case.points()
    more, left = await settled(case)
    if [order.body["name"] for order in case.side.erp.accepted] != NAMES or not left.records:
        more.append(f"the ERP accepted {case.side.erp.accepted}")
    if status == KILLED or (status == 0 and not reached):
        return more
    return [f"the second process ended with {status}", *more]


async def check_wait(case: Case, point: Any) -> list[str]:
    """Die around a heartbeat, or as the execution leaves its worker; the callback comes after that."""
    faults = await die(case, point)
    await case.do("recover")
    [id] = {id for _, id in case.lines("accepted")}
    await case.do("call back", id=id, step="answer", body="yes")
    more, left = await settled(case)
    if [order.times_sent for order in case.side.erp.accepted] != [1]:
        more.append(f"the ERP accepted {case.side.erp.accepted}")
    if left.records[id].output != Value(["thought", "yes"]).encode():
        more.append(f"the output is {left.records[id].output}")
    return faults + more


@pytest.mark.timeout(300)
async def test_w1_goes_on_after_death_at_any_point(tmp_path: Path) -> None:
    async with matrix(tmp_path, ORDERS) as tried:
        points, requests = await tried.prepare()
        names = Counter(name for name, _ in points)
        assert (requests, names["sandbox.run before"], names["action after"]) == (2, 2, 3)
        assert {"journal.begin after", "queue.put before", "queue.claim after", "queue.complete before"} < names.keys()
        assert names["journal.append before"] >= 5

        faults = await tried.every(all_points(points, requests), check_orders)

    assert not faults, "\n".join(faults)


@pytest.mark.timeout(300)
async def test_a_loop_goes_on_after_death_at_any_point_and_each_item_is_posted_once(tmp_path: Path) -> None:
    async with matrix(tmp_path, loop(tmp_path)) as tried:
        points, requests = await tried.prepare()
        assert requests == 2 * len(NAMES)

        faults = await tried.every(all_points(points, requests), check_loop)

    assert not faults, "\n".join(faults)


@pytest.mark.timeout(300)
async def test_a_post_without_a_key_parks_and_a_person_decides(tmp_path: Path) -> None:
    keyless = LOOP.replace("                idempotency_header: Idempotency-Key\n", "")
    async with matrix(tmp_path, loop(tmp_path, keyless)) as tried:
        _, requests = await tried.prepare()
        posting: list[Any] = [(name, index) for name in ("action before", "action after") for index in (1, 3)]

        faults = await tried.every(
            [*posting, *all_points([("sandbox.run after", 0), ("queue.complete before", 0)], requests)],
            check_parking_loop,
        )

    assert not faults, "\n".join(faults)


@pytest.mark.timeout(300)
async def test_death_while_going_on_is_gone_on_from_as_well(tmp_path: Path) -> None:
    async with matrix(tmp_path, loop(tmp_path)) as tried:
        await tried.prepare()
        async with tried.case() as case:
            await die(case, ("sandbox.run after", 1))
            assert await case.do("recover") == 0, case.log()
            points = [point for point in case.points() if not point[0].startswith(("queue.take", "queue.extend"))]
        taking = ("queue.take_many after", 0)

        faults = await tried.every([*points, taking], check_second_death)

    assert not faults, "\n".join(faults)


@pytest.mark.timeout(300)
async def test_a_wait_outlives_death_around_heartbeats_and_as_it_leaves_its_worker(tmp_path: Path) -> None:
    points = [(f"queue.{name} {when}", 0) for name in ("extend", "release") for when in ("before", "after")]
    async with matrix(tmp_path, loop(tmp_path, WAIT)) as tried:
        await tried.build()

        faults = await tried.every(points, check_wait)

    assert not faults, "\n".join(faults)


async def test_the_checks_notice_a_journal_that_loses_a_row(tmp_path: Path) -> None:
    async with matrix(tmp_path, ORDERS) as tried:
        await tried.prepare()
        async with tried.case() as case:
            status = await case.do("run", at=("action before", 2), lost=1)
            faults, _ = await settled(case)

    assert status == KILLED
    assert any("work fetch in 1-recover after 0-run" in fault for fault in faults), faults
