"""The promises of `turnout.interfaces.secrets`, one test each. Subclass `SecretStoreContract`; give `store` and `present`.

`store` must hold, from the start, the secret `present`: a pair of name and text. A store that can write may set it in the fixture.
"""

from __future__ import annotations

from typing import Any

import pytest

from turnout.errors import NotFound, Unsupported
from turnout.interfaces.secrets import Secret, SecretCapability, SecretStore

__all__ = ["SecretStoreContract"]

_TEXTS = ("", "hunter22", "p@ss wörd\n🚂", "x" * 100_000, '"quoted"\\', "null")
_NAMES = ("erp-token", "ERP_TOKEN", "a/b", "../x", "with space", "ü", "x" * 200)


class SecretStoreContract:
    """Each test is one sentence of the interface."""

    @pytest.fixture
    def present(self) -> tuple[str, str]:
        return "PRESENT", "hunter22-present"

    @pytest.fixture
    def store(self, present: tuple[str, str]) -> Any:
        raise NotImplementedError("override the fixture `store`")

    def test_its_scheme_can_stand_before_a_colon(self, store: SecretStore) -> None:
        assert store.scheme
        assert store.scheme == store.scheme.lower().strip()
        assert ":" not in store.scheme

    async def test_a_secret_comes_back_as_it_is(self, store: SecretStore, present: tuple[str, str]) -> None:
        name, text = present

        assert (await store.get(name)).reveal() == text

    async def test_a_secret_does_not_show_itself(self, store: SecretStore, present: tuple[str, str]) -> None:
        name, text = present

        secret = await store.get(name)

        assert text not in f"{secret} {secret!r} {secret:>40} {[secret]}"

    async def test_an_unknown_secret_is_not_found_by_name_with_a_way_to_set_it(
        self, store: SecretStore, present: tuple[str, str]
    ) -> None:
        with pytest.raises(NotFound, match="set") as caught:
            await store.get("ABSENT")

        assert caught.value.name == "ABSENT"
        assert "ABSENT" in str(caught.value)
        assert present[1] not in str(caught.value)

    @pytest.mark.parametrize("text", _TEXTS, ids=range(len(_TEXTS)))
    async def test_any_text_can_be_set(self, store: SecretStore, text: str) -> None:
        if await self._refused(store, SecretCapability.WRITE):
            return

        await store.set("name", Secret(text))

        assert (await store.get("name")).reveal() == text

    async def test_names_keep_their_secrets_apart(self, store: SecretStore) -> None:
        if await self._refused(store, SecretCapability.WRITE):
            return

        for name in _NAMES:
            await store.set(name, Secret(f"text of {name}"))

        assert [(await store.get(name)).reveal() for name in _NAMES] == [f"text of {name}" for name in _NAMES]

    async def test_setting_again_replaces(self, store: SecretStore) -> None:
        if await self._refused(store, SecretCapability.WRITE):
            return

        await store.set("name", Secret("old"))
        await store.set("name", Secret("new"))

        assert (await store.get("name")).reveal() == "new"

    async def test_a_deleted_secret_is_gone(self, store: SecretStore, present: tuple[str, str]) -> None:
        if await self._refused(store, SecretCapability.WRITE):
            return

        assert await store.delete(present[0]) is True
        assert await store.delete(present[0]) is False
        with pytest.raises(NotFound):
            await store.get(present[0])

    async def test_names_are_listed_in_order(self, store: SecretStore, present: tuple[str, str]) -> None:
        if await self._refused(store, SecretCapability.LIST):
            return
        if SecretCapability.WRITE in store.capabilities:
            for name in ("zulu", "alpha"):
                await store.set(name, Secret("text"))

        names = await store.names()

        assert present[0] in names
        assert list(names) == sorted(set(names))
        assert {"zulu", "alpha"} <= set(names) or SecretCapability.WRITE not in store.capabilities

    async def _refused(self, store: SecretStore, capability: SecretCapability) -> bool:
        """Whether the store does not declare the capability; what needs it must then say so."""
        if capability in store.capabilities:
            return False
        calls = {
            SecretCapability.WRITE: (lambda: store.set("name", Secret("text")), lambda: store.delete("name")),
            SecretCapability.LIST: (store.names,),
        }
        for call in calls[capability]:
            with pytest.raises(Unsupported, match=capability):
                await call()
        return True
