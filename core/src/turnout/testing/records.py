"""The promises of `turnout.interfaces.records`, one test each. Subclass `RecordStoreContract` and give `store`.

`execution`, `created` and `ended` make what the tests are about; a store's own tests may use them too.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from turnout.interfaces.records import MOST_SANDBOXES, ExecutionChange, ExecutionQuery, RecordBatch, RecordStore
from turnout.model.execution import (
    ErrorInfo,
    ExecutionInfo,
    ExecutionRecord,
    LogLine,
    SandboxReceipt,
    Status,
    StepRecord,
    StepStatus,
)
from turnout.model.payload import Encoded, File
from turnout.testing.record_events import KeptEventsContract

__all__ = ["RecordStoreContract", "created", "ended", "execution", "receipt", "step"]

_FILE = File(sha256="ab" * 32, size=3, name="a.txt", content_type="text/plain", data=b"abc")
_OUTPUT = Encoded(json=b'{"f": null, "n": 12345678901234567890}', files=(("/f", _FILE),))
_ERROR = ErrorInfo(
    kind="http_503", message="ERP: Straße is closed 100%", step="post", stack="at a.js:3", details=Encoded(json=b"{}")
)


def execution(id: str = "e1", *, at: float = 1000.0, **fields: Any) -> ExecutionInfo:
    """An execution of `acme`, created at `at`."""
    usual: dict[str, Any] = {
        "tenant": "acme",
        "instance": "acme-orders",
        "integration": "orders",
        "version": "1.0.0",
        "bundle": "b1",
        "flow": "import",
        "settings": "s1",
        "trigger": Encoded(json=b'{"body": 1}'),
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "vendor=1",
    }
    return ExecutionInfo(id=id, created_at=at, **{**usual, **fields})


def created(info: ExecutionInfo, **fields: Any) -> ExecutionChange:
    """The first change of an execution."""
    return ExecutionChange(id=info.id, info=info, **fields)


def ended(id: str, *, at: float, status: Status = Status.SUCCEEDED, **fields: Any) -> ExecutionChange:
    """The last change of an execution."""
    return ExecutionChange(id=id, status=status, ended_at=at, **fields)


def step(path: str, *, at: float = 1001.0, **fields: Any) -> StepRecord:
    """A step that succeeded, started at `at`."""
    usual: dict[str, Any] = {"kind": "action", "status": StepStatus.SUCCEEDED, "duration_ms": 1.5}
    return StepRecord(path=path, started_at=at, **{**usual, **fields})


def receipt(jobs: int = 1, **fields: Any) -> SandboxReceipt:
    """Of a sandbox that ran so many steps."""
    usual: dict[str, Any] = {
        "sandbox": "chroot",
        "layers": ("chroot", "uid"),
        "uid": 200017,
        "memory_bytes": 256_000_000,
        "peak_memory_bytes": 43_000_000,
        "cpu_ms": 12.5,
        "hosts": ("api.example.com:443", "bücher.example:8443"),
    }
    return SandboxReceipt(jobs=jobs, **{**usual, **fields})


class RecordStoreContract(KeptEventsContract):
    """Each test is one sentence of the interface."""

    @pytest.fixture
    def store(self) -> Any:
        raise NotImplementedError("override the fixture `store`")

    async def test_the_position_is_that_of_the_last_batch(self, store: RecordStore) -> None:
        assert await store.position() == 0

        assert await store.apply(RecordBatch(position=7)) is True

        assert await store.position() == 7

    @pytest.mark.parametrize("position", [3, 5])
    async def test_a_batch_that_is_not_above_the_last_changes_nothing(self, store: RecordStore, position: int) -> None:
        await store.apply(RecordBatch(position=5, executions=(created(execution()),)))
        again = RecordBatch(
            position=position,
            executions=(created(execution("e2")), ExecutionChange(id="e1", status=Status.FAILED)),
            steps=(("e1", step("a")),),
            logs=(("e1", LogLine(at=1.0, level="info", message="again")),),
        )

        assert await store.apply(again) is False

        assert await store.position() == 5
        assert await store.get("e1") == ExecutionRecord(info=execution(), status=Status.QUEUED)
        assert await store.get("e2") is None
        assert await store.logs("e1") == []

    async def test_a_batch_is_applied_as_a_whole_or_not_at_all(self, store: RecordStore) -> None:
        broken: Any = ExecutionChange(id="e2", info=execution("e2"), output=object())  # type: ignore[arg-type]  # wrong on purpose

        with pytest.raises(Exception):  # noqa: B017, PT011 - which one is not promised
            await store.apply(RecordBatch(position=1, executions=(created(execution()), broken)))

        assert await store.position() == 0
        assert await store.get("e1") is None

    async def test_an_execution_comes_back_with_everything_said_of_it(self, store: RecordStore) -> None:
        info = execution(parent="p", parent_path="call", replay_of="r", deadline=9.5, trigger=_OUTPUT)
        change = created(
            info, status=Status.FAILED, attempts=2, started_at=1001.5, ended_at=1002.25, output=_OUTPUT, error=_ERROR
        )
        failed = step("a", status=StepStatus.FAILED, attempts=3, output=_OUTPUT, error=_ERROR)

        await store.apply(RecordBatch(position=1, executions=(change,), steps=(("e1", failed),)))

        record = await store.get("e1")
        assert record == ExecutionRecord(
            info=info,
            status=Status.FAILED,
            attempts=2,
            started_at=1001.5,
            ended_at=1002.25,
            output=_OUTPUT,
            error=_ERROR,
            steps=(failed,),
        )
        assert record.output is not None
        assert record.output.files[0][1].data == b"abc"

    async def test_an_unknown_execution_is_none(self, store: RecordStore) -> None:
        assert await store.get("e1") is None

    async def test_what_a_change_leaves_out_is_kept(self, store: RecordStore) -> None:
        whole = created(
            execution(),
            status=Status.RUNNING,
            attempts=1,
            started_at=1001.0,
            ended_at=5.0,
            output=_OUTPUT,
            error=_ERROR,
        )
        await store.apply(RecordBatch(position=1, executions=(whole,)))
        before = await store.get("e1")

        await store.apply(RecordBatch(position=2, executions=(ExecutionChange(id="e1", attempts=2),)))

        assert before is not None
        assert await store.get("e1") == replace(before, attempts=2)

    async def test_what_an_execution_is_never_changes(self, store: RecordStore) -> None:
        await store.apply(RecordBatch(position=1, executions=(created(execution(), status=Status.RUNNING),)))

        await store.apply(RecordBatch(position=2, executions=(created(execution(flow="other", at=5.0)),)))

        assert await store.get("e1") == ExecutionRecord(info=execution(), status=Status.RUNNING)

    async def test_reopening_clears_the_end_before_the_rest_is_applied(self, store: RecordStore) -> None:
        end = ended("e1", at=1002.0, status=Status.FAILED, output=_OUTPUT, error=_ERROR)
        await store.apply(RecordBatch(position=1, executions=(created(execution(), started_at=1.0), end)))

        again = ExecutionChange(id="e1", reopened=True, status=Status.RUNNING, output=Encoded(json=b"1"))
        await store.apply(RecordBatch(position=2, executions=(again,)))

        assert await store.get("e1") == ExecutionRecord(
            info=execution(), status=Status.RUNNING, started_at=1.0, output=Encoded(json=b"1")
        )
        assert await store.search(ExecutionQuery(text="erp")) == []

    async def test_dropped_steps_are_removed_with_all_below(self, store: RecordStore) -> None:
        paths = ("a", "each", "each.x", "each[0].x", "each[10].x", "each[1].x.y", "each2", "each-x", "each/x", "b.each")
        await store.apply(
            RecordBatch(
                position=1, executions=(created(execution()),), steps=tuple(("e1", step(path)) for path in paths)
            )
        )

        drop = ExecutionChange(id="e1", dropped=("each", "nothing"))
        await store.apply(RecordBatch(position=2, executions=(drop,), steps=(("e1", step("each", at=1005.0)),)))

        record = await store.get("e1")
        assert record is not None
        assert {kept.path: kept.started_at for kept in record.steps} == {
            "a": 1001.0,
            "each": 1005.0,
            "each2": 1001.0,
            "each-x": 1001.0,
            "each/x": 1001.0,
            "b.each": 1001.0,
        }

    async def test_dropping_one_item_keeps_the_others(self, store: RecordStore) -> None:
        steps = tuple(("e1", step(path)) for path in ("each[1].a", "each[1].b", "each[11].a", "each"))
        await store.apply(RecordBatch(position=1, executions=(created(execution()),), steps=steps))

        drop = ExecutionChange(id="e1", dropped=("each[1]",))
        await store.apply(RecordBatch(position=2, executions=(drop,)))

        record = await store.get("e1")
        assert record is not None
        assert sorted(kept.path for kept in record.steps) == ["each", "each[11].a"]

    async def test_a_steps_record_replaces_the_earlier_one_of_its_path(self, store: RecordStore) -> None:
        running = step("a", status=StepStatus.RUNNING, error=_ERROR)
        batch = RecordBatch(position=1, executions=(created(execution()), created(execution("e2"))))
        await store.apply(replace(batch, steps=(("e1", running), ("e2", running), ("e1", step("a", attempts=2)))))

        await store.apply(RecordBatch(position=2, steps=(("e1", step("a", attempts=3)),)))

        one, two = await store.get("e1"), await store.get("e2")
        assert one is not None
        assert two is not None
        assert (one.steps, two.steps) == ((step("a", attempts=3),), (running,))

    async def test_steps_come_in_the_order_of_their_start(self, store: RecordStore) -> None:
        steps = tuple(("e1", step(f"s{at}", at=float(at))) for at in (5, 3, 9, 1))
        await store.apply(RecordBatch(position=1, executions=(created(execution()),), steps=steps))

        record = await store.get("e1")

        assert record is not None
        assert [found.path for found in record.steps] == ["s1", "s3", "s5", "s9"]

    async def test_sandboxes_are_added_and_stay(self, store: RecordStore) -> None:
        first, second, third = receipt(1), receipt(2, hosts=("a\nb\0c:1",)), receipt(3, layers=(), uid=-1)
        new = created(execution(), sandboxes=(first,))
        await store.apply(RecordBatch(position=1, executions=(new, ExecutionChange(id="e1", sandboxes=(second,)))))

        again = ExecutionChange(id="e1", reopened=True, dropped=("a",))
        later = (again, ExecutionChange(id="e1", status=Status.RUNNING), ExecutionChange(id="e1", sandboxes=(third,)))
        await store.apply(RecordBatch(position=2, executions=later))

        record = await store.get("e1")
        assert record is not None
        assert record.sandboxes == (first, second, third)
        [found] = await store.search(ExecutionQuery())
        assert found.sandboxes == ()

    async def test_no_more_than_the_first_sandboxes_are_kept(self, store: RecordStore) -> None:
        receipts = tuple(receipt(number) for number in range(1, MOST_SANDBOXES + 31))
        await store.apply(RecordBatch(position=1, executions=(created(execution(), sandboxes=receipts[:10]),)))

        for position, at in enumerate(range(10, len(receipts), 40), start=2):
            more = ExecutionChange(id="e1", sandboxes=receipts[at : at + 40])
            await store.apply(RecordBatch(position=position, executions=(more,)))

        record = await store.get("e1")
        assert record is not None
        assert record.sandboxes == receipts[:MOST_SANDBOXES]

    async def test_what_is_said_of_unknown_executions_is_left_out(self, store: RecordStore) -> None:
        batch = RecordBatch(
            position=1,
            executions=(ExecutionChange(id="gone", status=Status.RUNNING),),
            steps=(("gone", step("a")),),
            logs=(("gone", LogLine(at=1.0, level="info", message="hello")),),
        )

        assert await store.apply(batch) is True

        assert await store.get("gone") is None
        assert await store.logs("gone") == []

    @pytest.mark.parametrize(
        ("query", "ids"),
        [
            (ExecutionQuery(), ["e5", "e4", "e3", "e2", "e1"]),
            (ExecutionQuery(tenant="acme"), ["e3", "e2", "e1"]),
            (ExecutionQuery(instance="i2"), ["e4", "e2"]),
            (ExecutionQuery(integration="billing"), ["e4"]),
            (ExecutionQuery(flow="export"), ["e5", "e3"]),
            (ExecutionQuery(statuses=(Status.FAILED,)), ["e5", "e2"]),
            (ExecutionQuery(statuses=(Status.FAILED, Status.RUNNING, Status.FAILED)), ["e5", "e4", "e2"]),
            (ExecutionQuery(tenant="acme", statuses=(Status.FAILED, Status.QUEUED)), ["e3", "e2", "e1"]),
            (ExecutionQuery(since=200.0), ["e5", "e4", "e3", "e2"]),
            (ExecutionQuery(until=200.0), ["e1"]),
            (ExecutionQuery(since=200.0, until=400.0), ["e3", "e2"]),
            (ExecutionQuery(parent=""), ["e5", "e4", "e3", "e2"]),
            (ExecutionQuery(parent="e5"), ["e1"]),
            (ExecutionQuery(text="STRASSE"), ["e5", "e2"]),
            (ExecutionQuery(text="100%"), ["e5", "e2"]),
            (ExecutionQuery(text="1_0"), []),
            (ExecutionQuery(text="erp", tenant="globex"), ["e5"]),
            (ExecutionQuery(tenant="acme", flow="import", instance="i2"), ["e2"]),
            (ExecutionQuery(tenant="ACME"), []),
            (ExecutionQuery(tenant="' OR 1=1 --"), []),
            (ExecutionQuery(limit=2), ["e5", "e4"]),
            (ExecutionQuery(limit=0), []),
            (ExecutionQuery(before="e4"), ["e3", "e2", "e1"]),
            (ExecutionQuery(before="e4", limit=1, tenant="acme"), ["e3"]),
            (ExecutionQuery(before="e1"), []),
            (ExecutionQuery(before="never"), []),
        ],
        ids=repr,
    )
    async def test_filters_hold_all_together(self, store: RecordStore, query: ExecutionQuery, ids: list[str]) -> None:
        await store.apply(
            RecordBatch(
                position=1,
                executions=(
                    created(
                        execution("e4", at=400.0, tenant="globex", instance="i2", integration="billing"),
                        status=Status.RUNNING,
                    ),
                    created(execution("e1", at=100.0, parent="e5")),
                    created(
                        execution("e5", at=500.0, tenant="globex", flow="export"), status=Status.FAILED, error=_ERROR
                    ),
                    created(execution("e2", at=200.0, instance="i2"), status=Status.FAILED, error=_ERROR),
                    created(execution("e3", at=300.0, flow="export")),
                ),
            )
        )

        assert [record.info.id for record in await store.search(query)] == ids

    async def test_found_executions_come_without_their_steps(self, store: RecordStore) -> None:
        change = created(execution(), status=Status.FAILED, attempts=1, output=_OUTPUT, error=_ERROR)
        await store.apply(RecordBatch(position=1, executions=(change,), steps=(("e1", step("a")),)))

        [record] = await store.search(ExecutionQuery())

        whole = await store.get("e1")
        assert whole is not None
        assert record == replace(whole, steps=())

    async def test_pages_follow_each_other_without_gap_or_repeat(self, store: RecordStore) -> None:
        infos = [execution(f"e{number:02}", at=float(number // 7)) for number in range(40)]
        await store.apply(RecordBatch(position=1, executions=tuple(map(created, infos))))

        seen: list[str] = []
        while page := await store.search(ExecutionQuery(limit=9, before=seen[-1] if seen else "")):
            seen += [record.info.id for record in page]

        assert seen == [f"e{number:02}" for number in reversed(range(40))]

    async def test_logs_come_in_order_with_rising_numbers(self, store: RecordStore) -> None:
        lines = [LogLine(at=5.0 - number, level="info", message=f"line {number}\0é", path="a") for number in range(6)]
        await store.apply(
            RecordBatch(
                position=1,
                executions=(created(execution()), created(execution("e2"))),
                logs=(("e1", lines[0]), ("e2", lines[5]), ("e1", lines[1])),
            )
        )
        await store.apply(RecordBatch(position=2, logs=tuple(("e1", line) for line in lines[2:])))

        assert await store.logs("e1") == list(enumerate(lines, start=1))
        assert await store.logs("e1", after=2, limit=3) == list(enumerate(lines, start=1))[2:5]
        assert await store.logs("e1", after=6) == []
        assert await store.logs("e2") == [(1, lines[5])]

    async def test_pruning_by_age_removes_what_ended_before(self, store: RecordStore) -> None:
        await self._fill(store)

        assert sorted(await store.prune(ended_before=300.0)) == ["cancelled", "failed", "succeeded"]

        left = [record.info.id for record in await store.search(ExecutionQuery())]
        assert sorted(left) == ["late", "parked", "queued", "running", "waiting"]
        assert await store.logs("failed") == []
        assert await store.get("failed") is None

    async def test_pruning_by_size_removes_the_oldest_final_ones_and_the_store_shrinks(
        self, store: RecordStore
    ) -> None:
        output = Encoded(json=b'"' + b"x" * 20_000 + b'"')
        infos = [execution(f"e{number:03}", at=float(number)) for number in range(100)]
        changes = [created(info, status=Status.SUCCEEDED, ended_at=1000.0 - info.created_at) for info in infos]
        running = created(execution("running", at=0.0), status=Status.RUNNING)
        steps = tuple((info.id, step("a", output=output)) for info in infos)
        await store.apply(RecordBatch(position=1, executions=(running, *changes), steps=steps))
        full = await store.size_bytes()

        removed = await store.prune(keep_bytes=full // 2)

        assert await store.size_bytes() <= full // 2
        assert sorted(removed) == [f"e{number:03}" for number in range(len(removed))]
        assert 45 <= len(removed) <= 65
        assert len(await store.search(ExecutionQuery(limit=200))) == 101 - len(removed)

    async def test_executions_that_are_not_final_are_never_removed(self, store: RecordStore) -> None:
        await self._fill(store)

        await store.prune(ended_before=1e12, keep_bytes=0)

        left = [record.info.id for record in await store.search(ExecutionQuery())]
        assert sorted(left) == ["parked", "queued", "running", "waiting"]

    async def test_pruning_without_a_limit_removes_nothing(self, store: RecordStore) -> None:
        await self._fill(store)

        assert list(await store.prune()) == []
        assert len(await store.search(ExecutionQuery())) == 8

    async def test_a_pruned_execution_does_not_come_back_by_halves(self, store: RecordStore) -> None:
        await self._fill(store)
        await store.prune(ended_before=1e12)

        await store.apply(RecordBatch(position=9, steps=(("failed", step("a")),)))

        assert await store.get("failed") is None
        assert await store.references() == set()

    async def test_removed_executions_are_gone_whatever_their_status_and_no_others(self, store: RecordStore) -> None:
        await self._fill(store)

        await store.remove(["running", "failed", "parked", "nobody"])
        await store.apply(RecordBatch(position=9, steps=(("running", step("a")),)))

        left = {record.info.id for record in await store.search(ExecutionQuery())}
        assert left == {"queued", "waiting", "succeeded", "cancelled", "late"}
        assert await store.get("running") is None
        assert list(await store.logs("running")) == []
        assert len(await store.logs("late")) == 1

    async def test_every_payload_that_is_still_named_is_referenced(self, store: RecordStore) -> None:
        def stored(digit: str) -> Encoded:
            return Encoded(json=b"", stored=File(sha256=digit * 64, size=10**6))

        def holding(digit: str) -> Encoded:
            return Encoded(json=b"[null]", files=(("/0", File(sha256=digit * 64, size=10**6)),))

        detailed = ErrorInfo(kind="e", message="", details=stored("3"))
        first = created(execution(trigger=holding("1")), output=stored("2"), error=detailed)
        steps = (
            ("e1", step("a", output=holding("4"))),
            ("e1", step("b", error=detailed)),
            ("e1", step("c", output=stored("5"))),
            ("e2", step("a", output=stored("4"))),
        )
        long_name = "globex" * 100
        second = created(execution("e2", tenant=long_name, trigger=_OUTPUT))
        await store.apply(RecordBatch(position=1, executions=(first, second), steps=steps))

        assert await store.references() == {
            *(("acme", digit * 64) for digit in "12345"),
            (long_name, "4" * 64),
        }

        again = ExecutionChange(id="e1", reopened=True, dropped=("c",))
        await store.apply(RecordBatch(position=2, executions=(again,), steps=(("e1", step("a")),)))

        assert await store.references() == {("acme", "1" * 64), ("acme", "3" * 64), (long_name, "4" * 64)}

    async def test_a_large_loop_is_applied_and_read_whole(self, store: RecordStore) -> None:
        steps = tuple(("e1", step(f"each[{number}].post", at=float(number))) for number in range(15_000))

        await store.apply(RecordBatch(position=1, executions=(created(execution()),), steps=steps))

        record = await store.get("e1")
        assert record is not None
        assert [found.path for found in record.steps] == [found.path for _, found in steps]

    async def test_readers_and_a_writer_do_not_disturb_each_other(self, store: RecordStore) -> None:
        async def write() -> None:
            for position in range(1, 21):
                info = execution(f"e{position}", at=float(position))
                steps = tuple((info.id, step(f"s{number}")) for number in range(50))
                await store.apply(RecordBatch(position=position, executions=(created(info),), steps=steps))
                await asyncio.sleep(0)

        async def read() -> None:
            while await store.position() < 20:
                await asyncio.sleep(0)
                for record in await store.search(ExecutionQuery(limit=3)):
                    whole = await store.get(record.info.id)
                    assert whole is not None
                    assert len(whole.steps) == 50

        await asyncio.gather(write(), read(), read())

        assert len(await store.search(ExecutionQuery())) == 20

    async def _fill(self, store: RecordStore) -> None:
        """An execution of each status, its id; `late` ended later than the rest."""
        changes = [
            created(execution(status.value, at=100.0), status=status, ended_at=200.0 if status.final else None)
            for status in Status
        ]
        changes.append(created(execution("late", at=100.0), status=Status.SUCCEEDED, ended_at=300.0))
        steps = tuple((change.id, step("a", output=_OUTPUT)) for change in changes)
        logs = tuple((change.id, LogLine(at=1.0, level="info", message="hello")) for change in changes)
        await store.apply(RecordBatch(position=1, executions=tuple(changes), steps=steps, logs=logs))
