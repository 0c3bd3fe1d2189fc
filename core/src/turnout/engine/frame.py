"""What expressions see at one place of a flow, and how they are rendered there."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from turnout.engine.content import Content
from turnout.expressions import Condition, ContentNeeded, Scope, Template
from turnout.values import NULL, Value

__all__ = ["Frame", "Renderer", "error_value"]

_CONTENT_BYTES = 64 * 1024 * 1024


class Frame:
    """The steps and names visible at one place. Branches and parallel arms share their flow's frame; each item of a loop
    has one of its own, which begins with what the loop sees."""

    __slots__ = ("prefix", "roots", "steps")

    def __init__(
        self, roots: Mapping[str, Value | Mapping[str, Value]], steps: dict[str, Value], prefix: str = ""
    ) -> None:
        self.steps = steps
        self.prefix = prefix
        self.roots: dict[str, Value | Mapping[str, Value]] = {**roots, "steps": steps}

    def path(self, id: str) -> str:
        return f"{self.prefix}.{id}" if self.prefix else id

    def within(self, path: str) -> Frame:
        """The same steps, seen from inside a branch or an arm."""
        inner = Frame.__new__(Frame)
        inner.steps, inner.roots, inner.prefix = self.steps, self.roots, path
        return inner

    def item(self, path: str, inner_ids: tuple[str, ...], names: Mapping[str, Value]) -> Frame:
        """One item of a loop: its own outputs, which begin as null, and its own names."""
        steps = dict(self.steps)
        for id in inner_ids:
            steps[id] = NULL
        return Frame({**self.roots, **names}, steps, path)

    def naming(self, names: Mapping[str, Value]) -> Frame:
        """The same steps with more names beside them."""
        inner = self.within(self.prefix)
        inner.roots = {**self.roots, **names}
        return inner


class Renderer:
    """Evaluates expressions of one execution. Time and ids are functions of the step, so that they never change."""

    def __init__(self, content: Content, key: bytes, execution: str, callback_url: Callable[[str, str], str]) -> None:
        self._files = content
        self._key = key
        self._execution = execution
        self._callback_url = callback_url
        self._read: dict[str, bytes] = {}

    def _scope(self, frame: Frame, path: str, now: float) -> Scope:
        counter = 0

        def unique() -> str:
            nonlocal counter
            counter += 1
            digest = hmac.digest(self._key, f"id\0{self._execution}\0{path}\0{counter}".encode(), hashlib.sha256)
            return str(uuid.UUID(bytes=digest[:16], version=4))

        functions = {"callback_url": lambda id: self._callback_url(frame.prefix, id)}
        return Scope(roots=frame.roots, now=now, unique=unique, content=self._read, functions=functions)

    async def render(self, template: Template, frame: Frame, path: str, now: float) -> Value:
        """The template's value. Files whose content it asks for are read, up to 64 MiB each."""
        while True:
            try:
                return template.render(self._scope(frame, path, now))
            except ContentNeeded as need:
                await self._fetch(need)

    async def holds(self, condition: Condition, frame: Frame, path: str, now: float) -> bool:
        while True:
            try:
                return condition.holds(self._scope(frame, path, now))
            except ContentNeeded as need:
                await self._fetch(need)

    async def _fetch(self, need: ContentNeeded) -> None:
        content = await self._files.read(need.file)
        # Kept for the next expression over the same file, within a bound; what is in hand is kept whatever its size.
        if sum(map(len, self._read.values())) + len(content) > _CONTENT_BYTES:
            self._read.clear()
        self._read[need.file.sha256] = content


def error_value(kind: str, message: str, step: str, details: Any = None) -> Value:
    """What `error` is inside `on_error` steps."""
    return Value({"kind": kind, "message": message, "step": step, "details": details})
