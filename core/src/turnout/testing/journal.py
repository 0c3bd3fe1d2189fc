"""The contract of `turnout.interfaces.journal.Journal`: a test for each promise of its docstrings.

To test an implementation, subclass `JournalContract` in a test module and override `make_journal`:

    class TestMyJournal(JournalContract):
        @pytest.fixture
        def make_journal(self, tmp_path):
            return lambda: MyJournal(tmp_path)

All journals of one test that a factory makes share their rows if the implementation is durable. A journal that is given a
clock overrides `pass_time` as well; without, the two tests of what expires wait for a tenth of a second. Needs
`asyncio_mode = "auto"` of pytest-asyncio.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest
import pytest_asyncio

from turnout.errors import BackendError, Fenced
from turnout.interfaces.journal import Journal, Row
from turnout.model.durability import Durability

__all__ = ["JournalContract", "MakeJournal", "PassTime"]

MakeJournal = Callable[[], Journal]
PassTime = Callable[[float], Awaitable[None]]


def _steps(*names: str) -> list[Row]:
    """Rows of steps, with these as bodies."""
    return [Row("step", name.encode()) for name in names]


def _bodies(rows: Sequence[Row]) -> list[str]:
    return [row.body.decode() for row in rows]


async def _send(journal: Journal, execution: str, token: int, *names: str) -> None:
    """Append rows and wait until they are acknowledged."""
    await journal.append(execution, token, _steps(*names))
    await journal.barrier(execution, token)


class JournalContract:
    """What every journal promises."""

    @pytest.fixture
    def make_journal(self) -> MakeJournal:
        """Override: a factory of journals."""
        raise NotImplementedError("override the fixture make_journal")

    @pytest.fixture
    def pass_time(self) -> PassTime:
        """Override where the journal's time is the test's own: lets so many seconds pass. This one waits for them."""
        return asyncio.sleep

    @pytest_asyncio.fixture
    async def journal(self, make_journal: MakeJournal) -> AsyncIterator[Journal]:
        journal = make_journal()
        yield journal
        await journal.close()

    async def test_begin_writes_the_first_rows_of_an_execution_once(self, journal: Journal) -> None:
        first = await journal.begin("e1", _steps("a", "b"))
        second = await journal.begin("e1", _steps("c"))

        assert (first, second) == (True, False)
        assert _bodies(await journal.rows("e1")) == ["a", "b"]

    async def test_of_two_that_begin_at_once_one_succeeds(self, journal: Journal) -> None:
        begun = await asyncio.gather(*(journal.begin("e1", _steps(str(n), str(n))) for n in range(5)))

        assert sorted(begun) == [False, False, False, False, True]
        assert len(await journal.rows("e1")) == 2

    async def test_an_execution_that_was_opened_before_its_first_row_can_begin(self, journal: Journal) -> None:
        await journal.open("e1", 1)

        assert await journal.begin("e1", _steps("a")) is True

    async def test_a_name_begun_with_unique_s_is_remembered_although_it_was_forgotten(self, journal: Journal) -> None:
        first = await journal.begin("e1", _steps("a"), unique_s=60)
        at_once = await journal.begin("e1", _steps("b"), unique_s=60)
        await journal.forget(["e1"])

        later = await journal.begin("e1", _steps("c"), unique_s=60)

        assert (first, at_once, later) == (True, False, False)
        assert list(await journal.rows("e1")) == []
        assert list(await journal.unfinished()) == []

    async def test_a_name_is_forgotten_once_its_time_is_over(self, journal: Journal, pass_time: PassTime) -> None:
        await journal.begin("e1", _steps("a"), unique_s=0.1)
        await journal.forget(["e1"])

        await pass_time(0.11)

        assert await journal.begin("e1", _steps("b"), unique_s=60) is True
        assert _bodies(await journal.rows("e1")) == ["b"]

    async def test_a_name_is_remembered_from_the_time_at_which_it_was_begun(
        self, journal: Journal, pass_time: PassTime
    ) -> None:
        await journal.begin("e1", _steps("a"), unique_s=0.1)
        await journal.forget(["e1"])
        await journal.begin("e1", _steps("b"), unique_s=60)
        await pass_time(0.11)

        assert await journal.begin("e1", _steps("c"), unique_s=60) is True

    async def test_a_remembered_name_can_be_begun_without_unique_s(self, journal: Journal) -> None:
        await journal.begin("e1", _steps("a"), unique_s=60)
        await journal.forget(["e1"])

        assert await journal.begin("e1", _steps("b")) is True
        assert _bodies(await journal.rows("e1")) == ["b"]

    async def test_a_name_begun_without_unique_s_is_not_remembered(self, journal: Journal) -> None:
        await journal.begin("e1", _steps("a"))
        await journal.forget(["e1"])

        assert await journal.begin("e1", _steps("b"), unique_s=60) is True

    async def test_of_two_that_begin_with_unique_s_at_once_one_succeeds(self, journal: Journal) -> None:
        begun = await asyncio.gather(*(journal.begin("e1", _steps(str(n)), unique_s=60) for n in range(5)))

        assert sorted(begun) == [False, False, False, False, True]
        assert len(await journal.rows("e1")) == 1

    async def test_remembered_tells_the_names_that_would_be_refused_in_their_order(
        self, journal: Journal, pass_time: PassTime
    ) -> None:
        await journal.begin("there", _steps("a"))
        await journal.begin("forgotten", _steps("a"), unique_s=60)
        await journal.begin("unremembered", _steps("a"))
        await journal.begin("over", _steps("a"), unique_s=0.1)
        await journal.open("opened", 1)
        await journal.forget(["forgotten", "unremembered", "over"])
        await pass_time(0.11)

        asked = ["unknown", "over", "there", "unremembered", "forgotten", "opened"]

        assert list(await journal.remembered(asked)) == ["there", "forgotten"]
        assert list(await journal.remembered([])) == []

    async def test_open_returns_all_rows_in_the_order_written(self, journal: Journal) -> None:
        await journal.begin("e1", _steps("a"))
        await journal.open("e1", 1)
        await _send(journal, "e1", 1, "b", "c")
        await _send(journal, "e1", 1, "d")

        assert _bodies(await journal.open("e1", 2)) == ["a", "b", "c", "d"]

    async def test_open_of_an_execution_without_rows_is_empty(self, journal: Journal) -> None:
        assert list(await journal.open("e1", 1)) == []

    async def test_an_owner_may_open_again_with_its_own_token(self, journal: Journal) -> None:
        await journal.open("e1", 5)

        assert list(await journal.open("e1", 5)) == []

    async def test_open_is_fenced_by_a_higher_token(self, journal: Journal) -> None:
        await journal.open("e1", 5)

        with pytest.raises(Fenced) as caught:
            await journal.open("e1", 4)

        assert (caught.value.execution, caught.value.token, caught.value.current) == ("e1", 4, 5)

    async def test_rows_come_back_as_they_were_written(self, journal: Journal) -> None:
        rows = [Row("log", b""), Row("step", bytes(range(256))), Row("decided", b"\x00" * 100_000)]
        await journal.begin("e1", rows)

        assert list(await journal.rows("e1")) == rows

    async def test_an_acknowledged_row_is_seen_by_everybody(self, journal: Journal, make_journal: MakeJournal) -> None:
        other = make_journal()
        await journal.begin("e1", _steps("a"))
        await journal.open("e1", 1)
        await _send(journal, "e1", 1, "b")

        seen = _bodies(await other.rows("e1"))
        await other.close()

        assert seen == (["a", "b"] if journal.durability is not Durability.MEMORY else [])

    async def test_an_earlier_owner_is_fenced_and_its_rows_are_not_written(self, journal: Journal) -> None:
        await journal.begin("e1", _steps("a"))
        await journal.open("e1", 1)
        await journal.open("e1", 2)

        with pytest.raises(Fenced):
            await _send(journal, "e1", 1, "late", "later")

        assert _bodies(await journal.rows("e1")) == ["a"]

    async def test_the_barrier_is_fenced_although_nothing_was_sent(self, journal: Journal) -> None:
        await journal.open("e1", 1)
        await journal.open("e1", 2)

        with pytest.raises(Fenced):
            await journal.barrier("e1", 1)

    async def test_a_fence_keeps_an_earlier_owner_from_writing(self, journal: Journal) -> None:
        await journal.begin("e1", _steps("a"))
        await journal.open("e1", 1)
        await journal.fence("e1", 2)

        with pytest.raises(Fenced):
            await _send(journal, "e1", 1, "late")

        assert _bodies(await journal.rows("e1")) == ["a"]

    async def test_a_fence_is_never_lowered(self, journal: Journal) -> None:
        await journal.fence("e1", 5)
        await journal.fence("e1", 3)

        with pytest.raises(Fenced):
            await journal.open("e1", 4)

    async def test_a_fence_of_one_execution_does_not_touch_another(self, journal: Journal) -> None:
        await journal.open("e1", 1)
        await journal.open("e2", 1)
        await journal.fence("e1", 9)

        await _send(journal, "e2", 1, "a")

        assert _bodies(await journal.rows("e2")) == ["a"]

    async def test_a_signal_is_written_whatever_the_fence(self, journal: Journal) -> None:
        await journal.begin("e1", _steps("a"))
        await journal.open("e1", 9)

        written = await journal.signal("e1", Row("cancel", b"stop"))

        assert written is True
        assert (await journal.rows("e1"))[-1] == Row("cancel", b"stop")

    async def test_a_signal_to_an_execution_without_rows_changes_nothing(self, journal: Journal) -> None:
        await journal.open("opened", 1)

        written = [await journal.signal(execution, Row("cancel", b"")) for execution in ("unknown", "opened")]

        assert written == [False, False]
        assert list(await journal.rows("opened")) == []
        assert list(await journal.entries(after=0, limit=10)) == []

    async def test_rows_does_not_take_ownership(self, journal: Journal) -> None:
        await journal.begin("e1", _steps("a"))
        await journal.open("e1", 1)

        await journal.rows("e1")
        await _send(journal, "e1", 1, "b")

        assert _bodies(await journal.rows("e1")) == ["a", "b"]
        assert list(await journal.rows("unknown")) == []

    async def test_entries_are_all_rows_in_order_with_rising_positions(self, journal: Journal) -> None:
        await journal.begin("e1", _steps("a"))
        await journal.begin("e2", _steps("b"))
        await journal.open("e1", 1)
        await _send(journal, "e1", 1, "c", "d")

        entries = list(await journal.entries(after=0, limit=100))
        positions = [entry.position for entry in entries]

        assert [(entry.execution, entry.row.body) for entry in entries] == [
            ("e1", b"a"),
            ("e2", b"b"),
            ("e1", b"c"),
            ("e1", b"d"),
        ]
        assert positions == sorted(set(positions))
        assert positions[0] > 0

    async def test_a_reader_goes_on_after_the_last_entry_it_saw(self, journal: Journal) -> None:
        await journal.begin("e1", _steps("a", "b", "c"))

        page = list(await journal.entries(after=0, limit=2))
        rest = list(await journal.entries(after=page[-1].position, limit=2))
        await journal.begin("e2", _steps("d"))
        new = list(await journal.entries(after=[*page, *rest][-1].position, limit=2))

        assert [_bodies([entry.row for entry in part]) for part in (page, rest, new)] == [["a", "b"], ["c"], ["d"]]

    async def test_a_reader_that_follows_writers_misses_no_row(self, journal: Journal) -> None:
        async def write(execution: str) -> None:
            await journal.open(execution, 1)
            for n in range(20):
                await _send(journal, execution, 1, f"{execution}-{n}")

        writing = asyncio.gather(*(write(f"e{n}") for n in range(4)))
        seen: list[str] = []
        position = 0
        while not (writing.done() and not await journal.entries(after=position, limit=1)):
            for entry in await journal.entries(after=position, limit=7):
                seen.append(entry.row.body.decode())
                position = entry.position
            await asyncio.sleep(0)
        await writing

        assert sorted(seen) == sorted(f"e{e}-{n}" for e in range(4) for n in range(20))

    async def test_unfinished_are_those_whose_last_row_is_no_end_the_oldest_first(self, journal: Journal) -> None:
        await journal.open("opened only", 1)
        for execution in ("z-old", "ended", "reopened", "a-new"):
            await journal.begin(execution, _steps("a"))
        for execution in ("ended", "reopened"):
            await journal.open(execution, 1)
            await journal.append(execution, 1, [*_steps("b"), Row("ended", b"")])
            await journal.barrier(execution, 1)
        await journal.signal("reopened", Row("resumed", b""))

        assert list(await journal.unfinished()) == ["z-old", "reopened", "a-new"]

    async def test_forgotten_rows_are_gone_and_the_others_stay(self, journal: Journal) -> None:
        for execution in ("e1", "e2", "e3"):
            await journal.begin(execution, _steps(execution))

        await journal.forget(["e1", "e3", "unknown"])

        assert [list(await journal.rows(execution)) for execution in ("e1", "e3")] == [[], []]
        assert [entry.execution for entry in await journal.entries(after=0, limit=10)] == ["e2"]
        assert list(await journal.unfinished()) == ["e2"]

    async def test_an_execution_that_goes_on_is_not_forgotten_with_what_was_seen_of_it(self, journal: Journal) -> None:
        for execution in ("over", "goes on"):
            await journal.begin(execution, _steps(execution))
        seen = (await journal.entries(after=0, limit=10))[-1].position
        await journal.signal("goes on", Row("resumed", b"again"))

        await journal.forget(["over", "goes on", "unknown"], through=seen)

        assert [_bodies(await journal.rows(execution)) for execution in ("over", "goes on")] == [
            [],
            ["goes on", "again"],
        ]

    async def test_a_forgotten_execution_is_not_brought_back_by_its_last_owner(self, journal: Journal) -> None:
        await journal.begin("e1", _steps("a"))
        await journal.open("e1", 1)
        await journal.forget(["e1"])

        with pytest.raises(BackendError):
            await _send(journal, "e1", 1, "late")

        assert list(await journal.rows("e1")) == []
        assert list(await journal.unfinished()) == []

    async def test_positions_of_forgotten_rows_are_not_used_again(self, journal: Journal) -> None:
        await journal.begin("e1", _steps("a", "b"))
        last = (await journal.entries(after=0, limit=10))[-1].position

        await journal.forget(["e1"])
        await journal.begin("e1", _steps("c"))

        assert (await journal.entries(after=0, limit=10))[0].position > last

    async def test_rows_sent_before_close_are_written(self, journal: Journal, make_journal: MakeJournal) -> None:
        if journal.durability is Durability.MEMORY:
            await journal.close()
            return
        await journal.begin("e1", _steps("a"))
        await journal.open("e1", 1)
        await journal.append("e1", 1, _steps("b"))
        await journal.close()
        await journal.close()

        other = make_journal()
        seen = _bodies(await other.rows("e1"))
        await other.close()

        assert seen == ["a", "b"]

    async def test_rows_sent_without_waiting_keep_their_order(self, journal: Journal) -> None:
        await journal.open("e1", 1)
        for n in range(50):
            await journal.append("e1", 1, _steps(f"{n}", f"{n}'"))
        await journal.barrier("e1", 1)

        assert _bodies(await journal.rows("e1")) == [text for n in range(50) for text in (f"{n}", f"{n}'")]
