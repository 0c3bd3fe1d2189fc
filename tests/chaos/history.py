"""What happened, from all who saw it: the senders, the other side, the processes, and the stores at the end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Effect", "History", "Record", "Sent", "Told", "read_effects", "read_left"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A webhook that was accepted. `place` is how many lines had been told when its 202 came."""

    execution: str
    workload: str
    tenant: str
    number: int
    order: str
    place: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A request that changes something on the other side, which recognised it as a repetition where it is not `fresh`."""

    workload: str
    execution: str
    part: str
    key: str
    body: str
    fresh: bool
    receipt: str
    method: str = "POST"

    @property
    def data(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Told:
    """A line that a process wrote of itself: `life` is its name and the number of its life."""

    life: str
    kind: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    execution: str
    instance: str
    tenant: str
    status: str
    error: str
    steps: Mapping[str, str]

    @property
    def workload(self) -> str:
        return self.instance.partition("-")[0]


@dataclass(frozen=True, kw_only=True)
class History:
    """Everything. `unsure` is how many webhooks were sent and not answered; `decided` the parked executions that a person
    decided; `exits` how processes ended that nobody killed; `slots` how many executions could run at once."""

    sent: Sequence[Sent]
    unsure: int = 0
    effects: Sequence[Effect] = ()
    told: Sequence[Told] = ()
    records: Sequence[Record] = ()
    decided: frozenset[str] = frozenset()
    dead: Mapping[str, int] = field(default_factory=dict)
    attempts: int = 5
    slots: int = 32
    leftovers: Mapping[str, Any] = field(default_factory=dict)
    exits: Sequence[str] = ()

    def lines(self, *kinds: str) -> Iterator[tuple[int, Told]]:
        """The lines of these kinds, with their places, in order."""
        return ((place, line) for place, line in enumerate(self.told) if line.kind in kinds)


def read_effects(log: Path) -> list[Effect]:
    """What the other side wrote."""
    return [_effect(json.loads(line)) for line in log.read_text(encoding="utf-8").splitlines()]


def _effect(line: Mapping[str, Any]) -> Effect:
    body = line["body"]
    return Effect(
        workload=line["path"].rpartition("/")[2],
        execution=body["execution"],
        part=body["part"],
        key=line["key"],
        body=json.dumps(body, sort_keys=True),
        fresh=line["fresh"],
        receipt=line["receipt"],
        method=line["method"],
    )


def read_left(file: Path) -> tuple[list[Record], dict[str, int], dict[str, Any]]:
    """Records, attempts of dead letters by execution, and what must not be there."""
    left = json.loads(file.read_text(encoding="utf-8"))
    records = [Record(**record) for record in left.pop("records")]
    return records, {dead["execution"]: dead["attempts"] for dead in left.pop("dead")}, left
