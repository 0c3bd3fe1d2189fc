"""Secret stores that each break a promise, and the tests of the contract that must notice it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from turnout.errors import NotFound
from turnout.interfaces.secrets import Secret, SecretCapability, SecretStore
from turnout.testing.secrets import SecretStoreContract

from .contract_runs import run_contract

PRESENT = ("PRESENT", "hunter22-present")


class MemorySecrets(SecretStore):
    """A whole one, for the broken ones to break."""

    scheme = "memory"
    capabilities = frozenset({SecretCapability.WRITE, SecretCapability.LIST})

    def __init__(self) -> None:
        self.texts = dict([PRESENT])

    async def get(self, name: str) -> Secret:
        if name not in self.texts:
            raise NotFound("secret", name, hint="set it first")
        return Secret(self.texts[name])

    async def set(self, name: str, secret: Secret) -> None:
        self.texts[name] = secret.reveal()

    async def delete(self, name: str) -> bool:
        return self.texts.pop(name, None) is not None

    async def names(self) -> Sequence[str]:
        return sorted(self.texts)

    async def close(self) -> None:
        pass


class HasAColon(MemorySecrets):
    scheme = "memory:"


class Trims(MemorySecrets):
    async def get(self, name: str) -> Secret:
        return Secret((await super().get(name)).reveal()[:8])


class ReturnsText(MemorySecrets):
    async def get(self, name: str) -> Secret:
        return self.texts[name]  # type: ignore[return-value]  # breaks the promise of a `Secret`


class ReturnsEmpty(MemorySecrets):
    async def get(self, name: str) -> Secret:
        return Secret(self.texts.get(name, ""))


class TellsSecrets(MemorySecrets):
    async def get(self, name: str) -> Secret:
        if name not in self.texts:
            raise NotFound("secret", name, hint=f"set it; there is {self.texts}")
        return await super().get(name)


class StripsText(MemorySecrets):
    async def set(self, name: str, secret: Secret) -> None:
        await super().set(name, Secret(secret.reveal().encode("ascii", "ignore").decode()))


class FoldsNames(MemorySecrets):
    async def set(self, name: str, secret: Secret) -> None:
        await super().set(name.replace("_", "-").lower(), secret)

    async def get(self, name: str) -> Secret:
        return await super().get(name.replace("_", "-").lower())


class MixesNames(MemorySecrets):
    async def set(self, name: str, secret: Secret) -> None:
        self.texts = dict.fromkeys([*self.texts, name], secret.reveal())


class KeepsTheFirst(MemorySecrets):
    async def set(self, name: str, secret: Secret) -> None:
        self.texts.setdefault(name, secret.reveal())


class AlwaysDeletes(MemorySecrets):
    async def delete(self, name: str) -> bool:
        await super().delete(name)
        return True


class DeletesNothing(MemorySecrets):
    async def delete(self, name: str) -> bool:
        return name in self.texts


class ListsBackwards(MemorySecrets):
    async def names(self) -> Sequence[str]:
        return sorted(self.texts, reverse=True)


class WritesInSecret(MemorySecrets):
    capabilities = frozenset({SecretCapability.LIST})


class ListsInSecret(MemorySecrets):
    capabilities = frozenset({SecretCapability.WRITE})


CAUGHT = {
    HasAColon: ["its_scheme_can_stand_before_a_colon"],
    Trims: ["a_secret_comes_back_as_it_is"],
    ReturnsText: ["a_secret_does_not_show_itself"],
    ReturnsEmpty: ["an_unknown_secret_is_not_found_by_name_with_a_way_to_set_it"],
    TellsSecrets: ["an_unknown_secret_is_not_found_by_name_with_a_way_to_set_it"],
    StripsText: ["any_text_can_be_set"],
    FoldsNames: ["names_keep_their_secrets_apart"],
    MixesNames: ["names_keep_their_secrets_apart"],
    KeepsTheFirst: ["setting_again_replaces"],
    AlwaysDeletes: ["a_deleted_secret_is_gone"],
    DeletesNothing: ["a_deleted_secret_is_gone"],
    ListsBackwards: ["names_are_listed_in_order"],
    WritesInSecret: ["any_text_can_be_set", "a_deleted_secret_is_gone"],
    ListsInSecret: ["names_are_listed_in_order"],
}


def fixtures(store_class: type[MemorySecrets]) -> Mapping[str, Any]:
    return {"store": store_class(), "present": PRESENT}


@pytest.mark.parametrize(
    ("broken", "name"),
    [(broken, name) for broken, names in CAUGHT.items() for name in names],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
async def test_the_contract_catches(broken: type[MemorySecrets], name: str) -> None:
    with pytest.raises((AssertionError, NotFound, pytest.fail.Exception)):
        await run_contract(SecretStoreContract, name, lambda: fixtures(broken))


@pytest.mark.parametrize("name", sorted({name for names in CAUGHT.values() for name in names}))
async def test_a_whole_store_passes_where_a_broken_one_fails(name: str) -> None:
    await run_contract(SecretStoreContract, name, lambda: fixtures(MemorySecrets))


def test_every_promise_has_a_broken_store() -> None:
    promises = {name.removeprefix("test_") for name in dir(SecretStoreContract) if name.startswith("test_")}

    assert promises - {name for names in CAUGHT.values() for name in names} == set()
