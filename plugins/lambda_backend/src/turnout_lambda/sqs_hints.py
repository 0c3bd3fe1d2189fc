"""The messages of SQS: hints that somebody should look at an execution. One that is lost, late or comes twice does no harm:
the ledger says what there is to do."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from turnout.errors import BackendError
from turnout.interfaces.clock import Clock, SystemClock

from turnout_lambda.clients import CallFailed, call, called

__all__ = ["BATCH", "LONGEST_DELAY_S", "LONGEST_POLL_S", "Hint", "Hints", "Received", "received"]

BATCH: Final = 10
"""The most that SQS takes or gives by one request."""
LONGEST_DELAY_S: Final = 900
LONGEST_POLL_S: Final = 20
_LONGEST_HIDDEN_S: Final = 43_200
_SENDS: Final = 3

_log = logging.getLogger("turnout.queue.sqs")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """To look at `id` after `delay_s`. It is kept for later as long as the ledger has its `ticket`."""

    id: str
    tenant: str
    ticket: str
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message of SQS, hidden from others for a while. `hint` is None if it is none of ours."""

    receipt: str
    hint: Hint | None


class Hints:
    """One queue of SQS. Requests are made off the event loop."""

    def __init__(self, client: Any, url: str, clock: Clock | None = None) -> None:
        self._client = client
        self._url = url
        self._clock = clock or SystemClock()
        self._closed = asyncio.Event()

    async def send(self, hints: Sequence[Hint]) -> None:
        """Send all, in tens; what SQS takes only in part is sent again. `BackendError` if some are not taken in the end."""
        for batch in _batches(hints):
            await self._send_batch(batch)

    async def receive(self, *, limit: int, wait_s: float, hidden_s: float) -> Sequence[Received]:
        """Up to `limit` messages, as soon as there is one, within `wait_s`, of which SQS knows whole seconds."""
        if self._closed.is_set():
            return []
        poll = _Poll(self, limit=min(limit, BATCH), wait_s=int(min(wait_s, LONGEST_POLL_S)), hidden_s=_whole(hidden_s))
        others: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._closed.wait())]
        if wait_s >= 1.0:  # SQS counts from when it is asked, which may be late
            others.append(asyncio.ensure_future(self._clock.sleep(wait_s)))
        either: set[asyncio.Future[Any]] = {poll.answer, *others}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return poll.take()
        finally:
            for other in others:
                other.cancel()
            poll.leave()

    async def hide(self, hidden: Sequence[tuple[str, float]]) -> None:
        """Hide messages, by their receipts, for so many seconds from now; those that are gone are passed over."""
        for batch in _batches([(receipt, min(_whole(seconds), _LONGEST_HIDDEN_S)) for receipt, seconds in hidden]):
            entries = [
                {"Id": str(n), "ReceiptHandle": receipt, "VisibilityTimeout": seconds}
                for n, (receipt, seconds) in enumerate(batch)
            ]
            await self._tolerant("hide messages", self._client.change_message_visibility_batch, entries)

    async def delete(self, receipts: Sequence[str]) -> None:
        """Delete messages by their receipts. What is not deleted now comes again, and is found to be old."""
        for batch in _batches(receipts):
            entries = [{"Id": str(n), "ReceiptHandle": receipt} for n, receipt in enumerate(batch)]
            await self._tolerant("delete messages", self._client.delete_message_batch, entries)

    async def visible(self) -> int:
        """About how many could be received now."""
        answer = await self._ask(
            "count messages", self._client.get_queue_attributes, AttributeNames=["ApproximateNumberOfMessages"]
        )
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])

    def close(self) -> None:
        """Those who wait get nothing. Idempotent."""
        self._closed.set()

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    async def _send_batch(self, batch: Sequence[Hint]) -> None:
        left, why = list(batch), ""
        for _ in range(_SENDS):
            entries = [_entry(str(n), hint) for n, hint in enumerate(left)]
            answer = await self._ask("take messages", self._client.send_message_batch, Entries=entries)
            failed = answer.get("Failed", [])
            if not failed:
                return
            why = f"{failed[0].get('Code', '')} {failed[0].get('Message', '')}".strip()
            left = [left[int(one["Id"])] for one in failed]
            if any(one.get("SenderFault") for one in failed):
                break
        raise BackendError(f"SQS did not take {len(left)} of {len(batch)} messages: {why}")

    async def _tolerant(self, what: str, function: Callable[..., Any], entries: list[dict[str, Any]]) -> None:
        """A batch of which a part may fail: a receipt may have been used or replaced, which the ledger knows better."""
        answer = await self._ask(what, function, Entries=entries)
        for failed in answer.get("Failed", ()):
            if not failed.get("SenderFault"):
                _log.info("SQS did not %s: %s", what, failed.get("Code", ""))

    async def _ask(self, what: str, function: Callable[..., Any], **parameters: Any) -> Any:
        return await call(f"SQS did not {what}", function, QueueUrl=self._url, **parameters)

    def received(self, limit: int, wait_s: int, hidden_s: int) -> list[Received]:
        """As `receive`, on the thread of the caller."""
        answer = called(
            "SQS did not give messages",
            self._client.receive_message,
            QueueUrl=self._url,
            MaxNumberOfMessages=limit,
            WaitTimeSeconds=wait_s,
            VisibilityTimeout=hidden_s,
        )
        return [received(one["ReceiptHandle"], one["Body"]) for one in answer.get("Messages", ())]

    def give_back(self, messages: Sequence[Received]) -> None:
        """Let others have what came for somebody who had left. On the thread of the caller."""
        entries = [
            {"Id": str(n), "ReceiptHandle": one.receipt, "VisibilityTimeout": 0} for n, one in enumerate(messages)
        ]
        called(
            "SQS did not take messages back",
            self._client.change_message_visibility_batch,
            QueueUrl=self._url,
            Entries=entries,
        )


class _Poll:
    """A long poll on a thread of its own, which nobody waits for when the process ends: it may take `LONGEST_POLL_S`.
    What it receives after its taker has left is given back."""

    def __init__(self, hints: Hints, *, limit: int, wait_s: int, hidden_s: int) -> None:
        self.answer: asyncio.Future[Sequence[Received]] = asyncio.get_running_loop().create_future()
        self.answer.add_done_callback(_seen)
        self._hints = hints
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._left = False
        self._messages: Sequence[Received] = ()
        threading.Thread(target=self._run, args=(limit, wait_s, hidden_s), name="turnout-sqs", daemon=True).start()

    def take(self) -> Sequence[Received]:
        """What has come; none if nothing has yet."""
        if not self.answer.done():
            return []
        with self._lock:
            self._messages = ()
        return self.answer.result()

    def leave(self) -> None:
        """The taker has what it wanted, or wants nothing any more."""
        with self._lock:
            self._left = True
            unseen, self._messages = self._messages, ()
        self.answer.cancel()
        if unseen:
            threading.Thread(target=self._give_back, args=(unseen,), name="turnout-sqs", daemon=True).start()

    def _run(self, limit: int, wait_s: int, hidden_s: int) -> None:
        messages: Sequence[Received] = ()
        error: BaseException | None = None
        try:
            messages = self._hints.received(limit, wait_s, hidden_s)
        except BackendError as caught:
            error = caught
        with self._lock:
            late = self._left
            if not late:
                self._messages = messages
                self._loop.call_soon_threadsafe(self._settle, messages, error)
        if late and messages:
            self._give_back(messages)

    def _settle(self, messages: Sequence[Received], error: BaseException | None) -> None:
        if self.answer.done():
            return
        if error is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(messages)

    def _give_back(self, messages: Sequence[Received]) -> None:
        try:
            self._hints.give_back(messages)
        except CallFailed as error:
            _log.info("%s: they come again when their time is over", error)


def _seen(answer: asyncio.Future[Sequence[Received]]) -> None:
    """An error that came when nobody waited any more is nobody's."""
    if not answer.cancelled():
        answer.exception()


def _entry(id: str, hint: Hint) -> dict[str, Any]:
    body = {"turnout": 1, "id": hint.id, "tenant": hint.tenant, "ticket": hint.ticket}
    return {
        "Id": id,
        "MessageBody": json.dumps(body),
        "DelaySeconds": min(_whole(hint.delay_s), LONGEST_DELAY_S),
        # On a standard queue this is what SQS's fair queues go by; a name may have what a group must not.
        "MessageGroupId": hashlib.sha256(hint.tenant.encode("utf-8", "surrogatepass")).hexdigest()[:32],
    }


def received(receipt: str, body: str) -> Received:
    """A message as SQS gives it, whoever asked for it."""
    return Received(receipt=receipt, hint=_parsed(body))


def _parsed(body: str) -> Hint | None:
    try:
        fields = json.loads(body)
        if fields["turnout"] != 1:
            return None
        return Hint(id=str(fields["id"]), tenant=str(fields["tenant"]), ticket=str(fields["ticket"]))
    except (ValueError, TypeError, KeyError):
        return None


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


def _whole(seconds: float) -> int:
    return max(math.ceil(seconds), 0)
