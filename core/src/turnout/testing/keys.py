"""The promises of `turnout.interfaces.keys`, one test each. Subclass `KeyWrapperContract`; give `wrapper`, `rotated` and `stranger`.

`wrapper` wraps with a key; `another` is the same, opened a second time. `rotated` wraps with a newer key and can reach the older
one too. `stranger` has other keys alone.
"""

from __future__ import annotations

import base64
import traceback
from typing import Any

import pytest

from turnout.errors import BackendError
from turnout.interfaces.keys import KeyWrapper

__all__ = ["KeyWrapperContract"]

_KEY = bytes(range(100, 132))
_CONTEXT = "data-key/0123456789abcdef/acme"
_CONTEXTS = (
    "",
    "a",
    "A",
    "a ",
    "é",
    "e\u0301",
    "a\0b",
    "\ud800",
    "🚂" * 200,
    "data-key/1/acme",
    "data-key/1/acm",
    '{"a": "b"}',
)


class KeyWrapperContract:
    """Each test is one sentence of the interface."""

    @pytest.fixture
    def wrapper(self) -> Any:
        raise NotImplementedError("override the fixture `wrapper`")

    @pytest.fixture
    def another(self, wrapper: KeyWrapper) -> Any:
        return wrapper

    @pytest.fixture
    def rotated(self) -> Any:
        raise NotImplementedError("override the fixture `rotated`")

    @pytest.fixture
    def stranger(self) -> Any:
        raise NotImplementedError("override the fixture `stranger`")

    async def test_a_data_key_comes_back_as_it_was(self, wrapper: KeyWrapper, another: KeyWrapper) -> None:
        wrapped = await wrapper.wrap(_KEY, _CONTEXT)

        assert await wrapper.unwrap(wrapped, _CONTEXT) == _KEY
        assert await another.unwrap(wrapped, _CONTEXT) == _KEY

    async def test_what_is_wrapped_does_not_show_the_key(self, wrapper: KeyWrapper) -> None:
        first, second = [await wrapper.wrap(_KEY, _CONTEXT) for _ in range(2)]

        assert first != second
        assert not any(form in first for form in (_KEY, _KEY[:8], base64.b64encode(_KEY), _KEY.hex().encode()))

    async def test_the_wrapping_key_has_a_name(self, wrapper: KeyWrapper, another: KeyWrapper) -> None:
        assert wrapper.key_id.isprintable()
        assert wrapper.key_id.strip()
        assert wrapper.key_id == another.key_id

    async def test_another_key_has_another_name(self, wrapper: KeyWrapper, stranger: KeyWrapper) -> None:
        assert wrapper.key_id != stranger.key_id

    @pytest.mark.parametrize("context", _CONTEXTS, ids=range(len(_CONTEXTS)))
    async def test_it_unwraps_in_its_own_context_alone(self, wrapper: KeyWrapper, context: str) -> None:
        wrapped = await wrapper.wrap(_KEY, context)

        assert await wrapper.unwrap(wrapped, context) == _KEY
        for other in _CONTEXTS:
            if other != context:
                with pytest.raises(BackendError):
                    await wrapper.unwrap(wrapped, other)

    async def test_what_was_changed_is_refused(self, wrapper: KeyWrapper) -> None:
        wrapped = await wrapper.wrap(_KEY, _CONTEXT)

        changed = [
            bytes([*wrapped[:place], wrapped[place] ^ 1, *wrapped[place + 1 :]]) for place in range(len(wrapped))
        ]
        for wrong in (
            *changed[:: max(1, len(changed) // 20)],
            changed[-1],
            b"",
            wrapped[:-1],
            wrapped[:10],
            b"\0" * 200,
        ):
            with pytest.raises(BackendError) as caught:
                await wrapper.unwrap(wrong, _CONTEXT)
            _shows_no_key(caught.value)

    async def test_what_was_wrapped_before_a_rotation_is_unwrapped(self, wrapper: KeyWrapper, rotated: Any) -> None:
        before = wrapper.key_id
        old = await wrapper.wrap(_KEY, _CONTEXT)

        newer: KeyWrapper = await rotated()

        assert newer.key_id != before
        assert await newer.unwrap(old, _CONTEXT) == _KEY
        new = await newer.wrap(_KEY, _CONTEXT)
        assert await newer.unwrap(new, _CONTEXT) == _KEY

    async def test_what_another_key_wrapped_is_refused(self, wrapper: KeyWrapper, stranger: KeyWrapper) -> None:
        wrapped = await wrapper.wrap(_KEY, _CONTEXT)

        with pytest.raises(BackendError) as caught:
            await stranger.unwrap(wrapped, _CONTEXT)

        _shows_no_key(caught.value)

    async def test_it_can_be_closed_twice(self, wrapper: KeyWrapper) -> None:
        await wrapper.close()
        await wrapper.close()


def _shows_no_key(error: BaseException) -> None:
    shown = "".join(traceback.format_exception(error))
    for form in (_KEY.hex(), base64.b64encode(_KEY).decode(), str(_KEY), _KEY[:6].hex()):
        assert form not in shown
