"""What the journal says of an execution: its rows folded into where to go on.

Nothing is replayed. A step with an end is not run again; its output is taken from its row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from turnout.codec import decode_event
from turnout.interfaces.journal import Row
from turnout.model.events import (
    Accepted,
    Attempted,
    Began,
    CancelRequested,
    Decided,
    Ended,
    Event,
    Intended,
    Isolated,
    Logged,
    Resumed,
    Signalled,
    StepEnded,
    StepRunning,
    Waiting,
)
from turnout.model.execution import ExecutionInfo, StepStatus
from turnout.model.payload import Encoded

__all__ = ["History", "is_below"]


def is_below(path: str, ancestor: str) -> bool:
    """Whether `path` is `ancestor` or a step inside it: `each[3].post` is below `each[3]` and `each`."""
    return path.startswith(ancestor) and (len(path) == len(ancestor) or path[len(ancestor)] in ".[")


@dataclass(slots=True)
class History:
    """The state of an execution, folded from its rows in order.

    `ends` are final ends by path; `intents` are effects announced and not answered; `tries` the last failed attempt of
    steps that have no end; `reopened_at` when a person put back an execution that had ended; `decisions` what a person
    said about parked steps: an output, or None to run them again; `children` the sub-executions that calls go on with.
    """

    info: ExecutionInfo | None = None
    began_at: float | None = None
    reopened_at: float | None = None
    attempts: int = 0
    ends: dict[str, StepEnded] = field(default_factory=dict)
    intents: dict[str, Intended] = field(default_factory=dict)
    tries: dict[str, Attempted] = field(default_factory=dict)
    decided: dict[str, Encoded] = field(default_factory=dict)
    waits: dict[str, Waiting] = field(default_factory=dict)
    signals: dict[str, Signalled] = field(default_factory=dict)
    decisions: dict[str, Encoded | None] = field(default_factory=dict)
    cancel: CancelRequested | None = None
    ended: Ended | None = None
    dropped: list[tuple[str, float]] = field(default_factory=list)
    children: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Sequence[Row]) -> History:
        history = cls()
        for row in rows:
            history.add(decode_event(row.kind, row.body))
        return history

    def add(self, event: Event) -> None:  # noqa: C901, PLR0912 - one arm an event
        match event:
            case Accepted():
                self.info = event.info
            case Began():
                self.began_at = event.at if self.began_at is None else self.began_at
                self.attempts = event.attempt
            case Intended():
                self.intents[event.path] = event
            case Attempted():
                self.intents.pop(event.path, None)
                if event.restart:
                    self._drop((event.path,))
                self.tries[event.path] = event
            case Decided():
                self.decided[event.path] = event.value
            case StepEnded():
                self._end(event)
            case Waiting():
                self.waits[event.path] = event
            case Signalled():
                # The first callback counts: a second must not change what later steps were told.
                self.signals.setdefault(event.path, event)
            case CancelRequested():
                self.cancel = event
            case Resumed():
                self._resume(event)
            case Ended():
                self.ended = event
            case StepRunning() | Logged() | Isolated():
                pass

    def payloads(self) -> Iterator[str]:
        """The hashes of all stored content that the rows name."""
        trigger = [self.info.trigger] if self.info is not None else []
        outputs = [end.output for end in self.ends.values() if end.output is not None]
        chosen = [output for output in self.decisions.values() if output is not None]
        called_back = [signal.value for signal in self.signals.values()]
        for encoded in (*trigger, *outputs, *called_back, *chosen):
            if encoded.stored is not None:
                yield encoded.stored.sha256
            yield from (file.sha256 for _, file in encoded.files if file.data is None)

    def restarts(self, path: str) -> list[float]:
        """When a person let this step, or one that it is in, begin again."""
        return [at for dropped, at in self.dropped if is_below(path, dropped)]

    def _end(self, event: StepEnded) -> None:
        if event.status is StepStatus.PARKED:
            return
        self.ends[event.path] = event
        self.intents.pop(event.path, None)
        self.tries.pop(event.path, None)

    def _resume(self, event: Resumed) -> None:
        if self.ended is None:
            if self.began_at is not None:
                return  # a second person's, who saw the end that the first has taken back: it runs again by now
            # What is put back has a journal made anew, without its end; what is parked has its end there.
            self.reopened_at = event.at
        elif self.ended.status.final:
            self._reopen(event)
        self.ended = None
        self.cancel = None
        self._drop(event.drop)
        self.dropped += [(path, event.at) for path in event.drop]
        self.children.update(event.children)
        if self.info is not None and event.deadline is not None:
            self.info = replace(self.info, deadline=event.deadline)
        if event.decide:
            self.decisions[event.decide] = event.output

    def _reopen(self, event: Resumed) -> None:
        """Begin anew with the ends that are kept, as if the journal had been made again of them. What is known of effects
        in doubt stays known."""
        inside = {step.path for step in event.inside}
        self.ends = {path: end for path, end in self.ends.items() if end.kind != "item" and path not in inside}
        for table in (self.tries, self.decided, self.waits, self.signals, self.decisions, self.children):
            table.clear()
        self.dropped.clear()
        self.began_at, self.attempts, self.reopened_at = None, 0, event.at

    def _drop(self, paths: Iterable[str]) -> None:
        for path in paths:
            for table in (self.ends, self.intents, self.tries, self.decided, self.waits, self.signals):
                for key in [key for key in table if is_below(key, path)]:
                    del table[key]
