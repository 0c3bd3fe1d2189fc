"""Write-behind: what one owner has sent to the journal and has not yet been told about.

Appends go out in order without waiting, each with its number. What is to be done again because nobody knows whether it was
done is recognised by that number, so it is written once; what arrives before the one that it follows is refused, so there is
never a gap. Once an append has failed nothing more of this owner is written.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from turnout.errors import BackendError, Fenced

from turnout_ecs.journal.parcels import Parcel

__all__ = ["Append", "Writer"]

Reply = Sequence[Any]
Send = Callable[["Writer", "Append"], asyncio.Future[Reply]]

_TRIES: Final = 5
"""How often the same append may arrive too early or without its separate bodies; a lost connection costs one."""


@dataclass(eq=False, slots=True, kw_only=True)
class Append:
    """`sent` is None while it waits for those before it to be sent again."""

    number: int
    parcel: Parcel
    sent: asyncio.Future[Reply] | None = None
    tries: int = 0


class Writer:
    """One opening of an execution, or an owner that goes on without (`opened` is False).

    `send` sends an append of this writer and returns its reply to be. `outstanding` is told by how many bytes more, or fewer,
    are sent and not settled. Belongs to one event loop.
    """

    def __init__(
        self, execution: str, token: int, *, id_: str, opened: bool, send: Send, outstanding: Callable[[int], None]
    ) -> None:
        self.execution = execution
        self.token = token
        self.id = id_
        self.opened = opened
        self.ended = False
        self._send = send
        self._outstanding = outstanding
        self._number = 0
        self._unsettled: deque[Append] = deque()
        self._idle: asyncio.Future[None] | None = None
        self._failure: BackendError | None = None
        self._fresh = False

    @property
    def idle(self) -> bool:
        return not self._unsettled

    @property
    def fresh(self) -> bool:
        """Whether the last append is of this turn of the event loop: it goes out with whatever is sent now."""
        return self._fresh

    def append(self, parcel: Parcel, *, ends: bool) -> None:
        """Send rows after those sent before; raises what an earlier append failed with."""
        self.check()
        self._number += 1
        self.ended = ends
        append = Append(number=self._number, parcel=parcel)
        waiting = bool(self._unsettled) and self._unsettled[-1].sent is None
        self._unsettled.append(append)
        self._outstanding(parcel.size)
        if not waiting:
            self._hand_over(append)
            self._fresh = True
            asyncio.get_running_loop().call_soon(self._age)

    def check(self) -> None:
        """Raise what an append failed with, if one did."""
        match self._failure:
            case None:
                return
            case Fenced(current=current):
                raise Fenced(self.execution, token=self.token, current=current)
            case failure:
                raise BackendError(
                    f"execution {self.execution}: rows sent earlier were not written: {failure}"
                ) from failure

    async def settled(self) -> None:
        """Return once everything sent is written or has failed; `check` says which."""
        if self._unsettled:
            if self._idle is None:
                self._idle = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)

    def refuse(self, reply: Reply) -> BackendError | None:
        """The error that a reply of the scripts, or a fence that was read, means for this owner; None if it may write."""
        match reply:
            case [b"written"]:
                return None
            case [b"fenced", fence]:
                return Fenced(self.execution, token=self.token, current=int(fence))
            case [b"superseded"]:
                return BackendError(
                    f"execution {self.execution}: it was opened again with token {self.token}; what this opening sent later is not written"
                )
            case [b"forgotten"]:
                return BackendError(
                    f"execution {self.execution} is not in the journal: it was forgotten, or never opened"
                )
            case _:
                return BackendError(f"execution {self.execution}: the journal answered {reply!r}")

    def _age(self) -> None:
        self._fresh = False

    def _hand_over(self, append: Append) -> None:
        append.tries += 1
        try:
            append.sent = self._send(self, append)
        except BackendError as error:
            self._fail(error)
        else:
            append.sent.add_done_callback(lambda answered: self._answered(append, answered))

    def _answered(self, append: Append, answered: asyncio.Future[Reply]) -> None:
        # Looked at whatever else there is: an error that nobody looked at would be logged.
        error = BackendError("it was given up") if answered.cancelled() else answered.exception()
        if self._failure is not None:
            return
        if error is None:
            self._take(append, answered.result())
        else:
            self._fail(error if isinstance(error, BackendError) else BackendError(str(error)))

    def _take(self, append: Append, reply: Reply) -> None:
        match reply:
            case [b"gap", written] if int(written) + 1 < self._unsettled[0].number:
                self._fail(BackendError("the server lost rows that it had acknowledged"))
            case [b"gap" | b"expired", *_] if append.tries < _TRIES:
                append.sent = None
                self._send_again()
            case [b"written"]:
                # Replies come in order, and what follows an append that is to be sent again is answered with a gap.
                self._settle(append)
            case _:
                self._fail(self.refuse(reply) or BackendError(f"the journal answered {reply!r}"))

    def _settle(self, append: Append) -> None:
        self._unsettled.remove(append)
        self._outstanding(-append.parcel.size)
        if self._unsettled:
            self._send_again()
        else:
            self._rest()

    def _send_again(self) -> None:
        """Send what is not on its way, in order, once nothing is on its way that would be overtaken."""
        if all(append.sent is None for append in self._unsettled):
            for append in list(self._unsettled):
                if self._failure is None:
                    self._hand_over(append)

    def _fail(self, failure: BackendError) -> None:
        self._failure = failure
        for append in self._unsettled:
            self._outstanding(-append.parcel.size)
        self._unsettled.clear()
        self._rest()

    def _rest(self) -> None:
        if self._idle is not None:
            self._idle.set_result(None)
            self._idle = None
