"""The local key wrapper keeps its contract; wrappers that each break a promise are caught by it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from turnout.errors import BackendError
from turnout.interfaces.keys import KeyWrapper
from turnout.local.keys import Keys
from turnout.local.local_key_wrapper import LocalKeyWrapper
from turnout.testing.keys import KeyWrapperContract

from .contract_runs import run_contract


class TestLocalKeyWrapper(KeyWrapperContract):
    @pytest.fixture
    def wrapper(self, tmp_path: Path) -> KeyWrapper:
        return LocalKeyWrapper(Keys(tmp_path, environment={}))

    @pytest.fixture
    def another(self, wrapper: KeyWrapper, tmp_path: Path) -> KeyWrapper:
        return LocalKeyWrapper(Keys(tmp_path, environment={}))

    @pytest.fixture
    def rotated(self, tmp_path: Path) -> Callable[[], Awaitable[KeyWrapper]]:
        async def rotate() -> KeyWrapper:
            keys = Keys(tmp_path, environment={})
            keys.add(os.urandom(32))
            return LocalKeyWrapper(keys)

        return rotate

    @pytest.fixture
    def stranger(self, tmp_path: Path) -> KeyWrapper:
        return LocalKeyWrapper(Keys(tmp_path / "elsewhere", environment={}))


class ForgetsHalf(LocalKeyWrapper):
    async def unwrap(self, wrapped: bytes, context: str) -> bytes:
        return (await super().unwrap(wrapped, context))[:16] * 2


class WrapsNothing(LocalKeyWrapper):
    async def wrap(self, key: bytes, context: str) -> bytes:
        return os.urandom(8) + key

    async def unwrap(self, wrapped: bytes, context: str) -> bytes:
        return wrapped[8:]


class WrapsTheSame(LocalKeyWrapper):
    async def wrap(self, key: bytes, context: str) -> bytes:
        self._wrapped = getattr(self, "_wrapped", None) or await super().wrap(key, context)
        return self._wrapped


class HasNoName(LocalKeyWrapper):
    @property
    def key_id(self) -> str:
        return ""


class IsCalledTheSame(LocalKeyWrapper):
    @property
    def key_id(self) -> str:
        return "the key"


class IgnoresTheContext(LocalKeyWrapper):
    async def wrap(self, key: bytes, context: str) -> bytes:
        return await super().wrap(key, "")

    async def unwrap(self, wrapped: bytes, context: str) -> bytes:
        return await super().unwrap(wrapped, "")


class CutsTheContext(LocalKeyWrapper):
    async def wrap(self, key: bytes, context: str) -> bytes:
        return await super().wrap(key, context.partition("\0")[0].strip())

    async def unwrap(self, wrapped: bytes, context: str) -> bytes:
        return await super().unwrap(wrapped, context.partition("\0")[0].strip())


class TakesWhatWasChanged(LocalKeyWrapper):
    async def unwrap(self, wrapped: bytes, context: str) -> bytes:
        try:
            return await super().unwrap(wrapped, context)
        except BackendError:
            return bytes(32)


class TellsTheKey(LocalKeyWrapper):
    async def wrap(self, key: bytes, context: str) -> bytes:
        self._told = key
        return await super().wrap(key, context)

    async def unwrap(self, wrapped: bytes, context: str) -> bytes:
        try:
            return await super().unwrap(wrapped, context)
        except BackendError as error:
            raise BackendError(f"not {self._told.hex()}") from error


class HasTheNewestAlone(LocalKeyWrapper):
    async def unwrap(self, wrapped: bytes, context: str) -> bytes:
        if bytes.fromhex(self.key_id) != wrapped[:8]:
            raise BackendError("not there any more")
        return await super().unwrap(wrapped, context)


class TakesAnybodys(LocalKeyWrapper):
    """Every one of them has the same key, whatever it says."""

    async def wrap(self, key: bytes, context: str) -> bytes:
        return await LocalKeyWrapper(Keys("/", environment=_SAME)).wrap(key, context)

    async def unwrap(self, wrapped: bytes, context: str) -> bytes:
        return await LocalKeyWrapper(Keys("/", environment=_SAME)).unwrap(wrapped, context)


class ClosesOnce(LocalKeyWrapper):
    closed = False

    async def close(self) -> None:
        assert not self.closed
        self.closed = True


_SAME = {"TURNOUT_SECRET_KEY": "A" * 43 + "="}

CAUGHT = {
    ForgetsHalf: ["a_data_key_comes_back_as_it_was"],
    WrapsNothing: ["what_is_wrapped_does_not_show_the_key"],
    WrapsTheSame: ["what_is_wrapped_does_not_show_the_key"],
    HasNoName: ["the_wrapping_key_has_a_name"],
    IsCalledTheSame: ["another_key_has_another_name", "what_was_wrapped_before_a_rotation_is_unwrapped"],
    IgnoresTheContext: ["it_unwraps_in_its_own_context_alone"],
    CutsTheContext: ["it_unwraps_in_its_own_context_alone"],
    TakesWhatWasChanged: ["what_was_changed_is_refused"],
    TellsTheKey: ["what_was_changed_is_refused"],
    HasTheNewestAlone: ["what_was_wrapped_before_a_rotation_is_unwrapped"],
    TakesAnybodys: ["what_another_key_wrapped_is_refused"],
    ClosesOnce: ["it_can_be_closed_twice"],
}


def fixtures(wrapper_class: type[LocalKeyWrapper], directory: str) -> Mapping[str, Any]:
    place = Path(directory)

    async def rotated() -> KeyWrapper:
        Keys(place, environment={}).add(os.urandom(32))
        return wrapper_class(Keys(place, environment={}))

    wrapper = wrapper_class(Keys(place, environment={}))
    stranger = wrapper_class(Keys(place / "elsewhere", environment={}))
    return {"wrapper": wrapper, "another": wrapper, "rotated": rotated, "stranger": stranger}


@pytest.mark.parametrize(
    ("broken", "name"),
    [(broken, name) for broken, names in CAUGHT.items() for name in names],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
async def test_the_contract_catches(broken: type[LocalKeyWrapper], name: str) -> None:
    with TemporaryDirectory() as directory, pytest.raises((AssertionError, BackendError, pytest.fail.Exception)):
        await run_contract(KeyWrapperContract, name, lambda: fixtures(broken, directory))


@pytest.mark.parametrize("name", sorted({name for names in CAUGHT.values() for name in names}))
async def test_a_whole_wrapper_passes_where_a_broken_one_fails(name: str, tmp_path: Path) -> None:
    await run_contract(KeyWrapperContract, name, lambda: fixtures(LocalKeyWrapper, str(tmp_path)))


def test_every_promise_has_a_broken_wrapper() -> None:
    promises = {name.removeprefix("test_") for name in dir(KeyWrapperContract) if name.startswith("test_")}

    assert promises - {name for names in CAUGHT.values() for name in names} == set()
