"""The checker: a sound history passes, and each thing that must not be is found by its rule."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.chaos.checker import RULES, check
from tests.chaos.history import Effect, History, Record, Sent, Told

DEAD_LETTER = "dead_letter: given up after 2 attempts"


def sent(execution: str, workload: str, tenant: str = "acme", order: str = "") -> Sent:
    return Sent(execution=execution, workload=workload, tenant=tenant, number=1, order=order, place=0)


def effect(execution: str, workload: str, part: str, **more: object) -> Effect:
    values = {"key": f"{execution}-{part}", "body": json.dumps({"batch": 1}), "fresh": True, "receipt": "R-1", **more}
    return Effect(workload=workload, execution=execution, part=part, **values)  # type: ignore[arg-type]


def record(execution: str, workload: str, **more: object) -> Record:
    values = {"status": "succeeded", "error": "", "steps": {}, **more}
    return Record(execution=execution, instance=f"{workload}-acme", tenant="acme", **values)  # type: ignore[arg-type]


def told(*lines: str) -> list[Told]:
    return [Told(life, kind, tuple(words)) for life, kind, *words in (line.split() for line in lines)]


def sound() -> History:
    """An execution of orders, two with one order, one that parked, one that was poison."""
    return History(
        sent=[sent("o", "orders"), sent("f1", "fifo", order="a"), sent("f2", "fifo", order="a"), sent("n", "plain"), sent("p", "poison")],
        effects=[
            effect("o", "orders", "post"),
            effect("o", "orders", "post", fresh=False),
            effect("f1", "fifo", "begin"),
            effect("f1", "fifo", "end"),
            effect("f2", "fifo", "begin"),
            effect("f2", "fifo", "end"),
            effect("n", "plain", "post", key=""),
            effect("p", "poison", "before"),
        ],
        told=told(
            "w0.0 began o 1",
            "w0.0 work o post",
            "w1.0 began o 2",
            "w1.0 work o post",
            "w1.0 reported o post succeeded",
            "w0.0 work o post",
            "w0.1 began o 1",
            "w0.1 work o post",
            "w1.0 ended o succeeded",
            "w0.0 ended n parked",
            "w1.0 ended n succeeded",
            "w1.0 began p 1",
            "w1.1 began p 2",
        ),
        records=[
            record("o", "orders"),
            record("f1", "fifo"),
            record("f2", "fifo"),
            record("n", "plain"),
            record("p", "poison", status="failed", error=DEAD_LETTER, steps={"before": "succeeded"}),
        ],
        decided=frozenset({"n"}),
        dead={"p": 2},
        attempts=2,
        leftovers={"waiting": 0, "rows": 0, "missing": [], "orphans": []},
    )  # fmt: skip


def without_record(history: History, execution: str) -> History:
    return replace(history, records=[one for one in history.records if one.execution != execution])


def with_record(history: History, changed: Record) -> History:
    kept = without_record(history, changed.execution)
    return replace(kept, records=[*kept.records, changed])


def with_told(history: History, *lines: str) -> History:
    return replace(history, told=[*history.told, *told(*lines)])


def with_effect(history: History, *more: Effect) -> History:
    return replace(history, effects=[*history.effects, *more])


def overtaken(history: History) -> History:
    first, second, *rest = history.effects[2:6]
    return replace(history, effects=[*history.effects[:2], *rest, first, second, *history.effects[6:]])


def starved(history: History) -> History:
    """A crowd of another tenant begins before the one execution that came first."""
    crowd = [f"b{number}" for number in range(100)]
    many = [sent(execution, "upsert", "bolt") for execution in crowd]
    lines = [*(f"w0.0 began {execution} 1" for execution in crowd), "w0.0 began f1 1"]
    modest = [replace(one, order="") for one in history.sent]
    return with_told(replace(history, sent=[*modest, *many], slots=4), *lines)


BROKEN = [
    ("every accepted execution ends", lambda it: without_record(it, "o")),
    ("every accepted execution ends", lambda it: with_record(it, record("o", "orders", status="running"))),
    ("every accepted execution ends", lambda it: with_record(it, record("o", "orders", status="failed"))),
    ("every accepted execution ends", lambda it: with_record(it, record("x", "upsert", status="running"))),
    ("it ends once", lambda it: with_told(it, "w1.0 ended o succeeded")),
    ("what was reported is not done again", lambda it: with_told(it, "w2.0 began o 3", "w2.0 work o post")),
    ("what was reported is not done again", lambda it: with_told(it, "w0.0 reported o post succeeded")),
    ("no effect happens twice", lambda it: with_effect(it, effect("o", "orders", "post", key="other"))),
    ("no effect happens twice", lambda it: with_effect(it, effect("o", "orders", "post", fresh=False, body="{}"))),
    ("no effect happens twice", lambda it: with_effect(it, effect("n", "plain", "post", key=""))),
    ("every effect happens, in order", lambda it: replace(it, effects=it.effects[2:])),
    ("every effect happens, in order", lambda it: replace(it, effects=[*reversed(it.effects)])),
    ("only doubt parks", lambda it: with_told(it, "w0.0 ended o parked")),
    ("only doubt parks", lambda it: replace(it, decided=frozenset({"o"}))),
    ("FIFO keys keep their order", overtaken),
    ("tenants take turns", starved),
    ("only poison dies", lambda it: replace(it, dead={"p": 2, "o": 2})),
    ("only poison dies", lambda it: replace(it, dead={"p": 1})),
    ("only poison dies", lambda it: replace(it, dead={})),
    ("only poison dies", lambda it: with_record(it, record("p", "poison", status="failed", error=DEAD_LETTER))),
    ("only poison dies", lambda it: with_told(it, "w1.2 began p 3")),
    ("counters count once", lambda it: with_effect(it, effect("o", "orders", "post", key="other"))),
    ("nothing is left", lambda it: replace(it, leftovers={"leased": 1})),
    ("nothing is left", lambda it: replace(it, leftovers={"orphans": [4711]})),
    ("no process fails", lambda it: replace(it, exits=["worker0.0 ended with 70"])),
]  # fmt: skip


def test_a_sound_history_has_no_findings() -> None:
    assert check(sound()) == []


@pytest.mark.parametrize(("rule", "harm"), BROKEN)
def test_what_must_not_be_is_found(rule: str, harm: object) -> None:
    assert callable(harm)

    assert rule in {finding.rule for finding in check(harm(sound()))}


def test_every_rule_has_a_history_that_it_finds_broken() -> None:
    assert {rule for rule, _ in BROKEN} == RULES.keys()


def test_of_many_findings_the_first_ten_are_told_and_how_many_there_are() -> None:
    history = replace(sound(), exits=[f"worker{number} ended with 70" for number in range(25)])

    assert len(check(history)) == 11
    assert check(history)[-1].what == "and 15 more"
