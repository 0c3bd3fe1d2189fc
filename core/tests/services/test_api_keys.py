"""API keys: good for whom they were made, until they are revoked or expire, and kept so that reading the catalog gives none."""

from __future__ import annotations

import string
from dataclasses import replace

import pytest
from turnout.errors import NotFound, UserError
from turnout.interfaces.catalog import Address, CatalogChange, CatalogEntry
from turnout.local.memory_catalog import MemoryCatalog
from turnout.services.api_keys import ApiKeys, NewKey, Principal, Role
from turnout.testing.clock import ManualClock


class Ring:
    """Keys over a catalog whose writes are counted."""

    def __init__(self) -> None:
        self.catalog = MemoryCatalog()
        self.clock = ManualClock()
        self.keys = ApiKeys(self.catalog, self.clock)

    async def entry(self, made: NewKey) -> CatalogEntry:
        [entry] = [one for one in await self.catalog.entries("api-key") if one.address.name == made.id]
        return entry


@pytest.fixture
def ring() -> Ring:
    return Ring()


async def test_a_key_says_whose_it_is_and_what_it_may_do(ring: Ring) -> None:
    own = await ring.keys.create("shop front", role=Role.OPERATE, customer="acme")
    whole = await ring.keys.create("ops", role=Role.ADMIN)

    assert await ring.keys.check(own.text) == Principal(
        id=own.id, name="shop front", customer="acme", role=Role.OPERATE
    )
    assert await ring.keys.check(whole.text) == Principal(id=whole.id, name="ops", customer=None, role=Role.ADMIN)


async def test_what_is_not_the_whole_key_opens_nothing(ring: Ring) -> None:
    made = await ring.keys.create("one", role=Role.READ)
    other = await ring.keys.create("other", role=Role.READ)
    last = made.text[-1]

    for wrong in (
        "",
        made.id,
        made.text[:-1],
        made.text + "0",
        made.text.upper(),
        made.text + "\n",
        made.text[:-1] + ("0" if last != "0" else "1"),
        f"turnout_{other.id}_{made.text.rpartition('_')[2]}",
        f"turnout_{'0' * 16}_{made.text.rpartition('_')[2]}",
        made.text.replace("turnout", "turnaut"),
    ):
        assert await ring.keys.check(wrong) is None, wrong
    assert await ring.keys.check(made.text) is not None


async def test_a_revoked_key_opens_nothing_and_says_so_in_the_list(ring: Ring) -> None:
    made = await ring.keys.create("one", role=Role.READ)

    await ring.keys.revoke(made.id)
    again = await ring.keys.revoke(made.id)

    assert await ring.keys.check(made.text) is None
    assert again.state(ring.clock.now()) == "revoked"
    assert [id for id, _ in await ring.keys.page()] == [made.id]


async def test_a_key_expires_at_its_time(ring: Ring) -> None:
    made = await ring.keys.create("one", role=Role.READ, expires_s=60.0)

    ring.clock.advance(59.0)
    before = await ring.keys.check(made.text)
    ring.clock.advance(1.0)

    assert before is not None
    assert await ring.keys.check(made.text) is None
    assert made.key.state(ring.clock.now()) == "expired"


async def test_the_last_use_is_written_once_an_hour(ring: Ring) -> None:
    made = await ring.keys.create("one", role=Role.READ)
    created = (await ring.entry(made)).revision

    for _ in range(50):
        await ring.keys.check(made.text)
        ring.clock.advance(60.0)
    used = await ring.keys.get(made.id)

    assert (await ring.entry(made)).revision == created + 1
    assert used.used_at is not None
    ring.clock.advance(3600.0)
    await ring.keys.check(made.text)
    assert (await ring.entry(made)).revision == created + 2
    assert (await ring.keys.get(made.id)).used_at == ring.clock.now()


async def test_a_use_does_not_undo_a_revocation_of_the_same_moment(ring: Ring) -> None:
    made = await ring.keys.create("one", role=Role.READ)

    class RevokedMeanwhile(MemoryCatalog):
        async def get(self, address: Address) -> CatalogEntry | None:
            found = await ring.catalog.get(address)
            await ring.keys.revoke(made.id)
            return found

        async def write(self, *changes: CatalogChange) -> bool:
            return await ring.catalog.write(*changes)

    await ApiKeys(RevokedMeanwhile(), ring.clock).check(made.text)

    assert (await ring.keys.get(made.id)).revoked_at is not None


async def test_the_catalog_holds_nothing_that_opens(ring: Ring) -> None:
    made = await ring.keys.create("one", role=Role.ADMIN)
    secret = made.text.rpartition("_")[2]

    assert secret.encode() not in (await ring.entry(made)).body
    assert len(secret) == 64
    assert set(secret) <= set(string.hexdigits.lower())
    assert made.text not in repr(made)
    assert secret not in repr(made)


async def test_a_customers_keys_are_seen_and_revoked_under_its_name_alone(ring: Ring) -> None:
    mine = await ring.keys.create("mine", role=Role.READ, customer="acme")
    other = await ring.keys.create("other", role=Role.READ, customer="bolt")
    whole = await ring.keys.create("whole", role=Role.READ)

    assert [id for id, _ in await ring.keys.page(customer="acme")] == [mine.id]
    for id in (other.id, whole.id):
        with pytest.raises(NotFound):
            await ring.keys.revoke(id, customer="acme")
    assert await ring.keys.check(other.text) is not None


async def test_all_keys_of_a_customer_go_with_it(ring: Ring) -> None:
    mine = [await ring.keys.create(str(n), role=Role.READ, customer="acme") for n in range(3)]
    other = await ring.keys.create("other", role=Role.READ, customer="bolt")

    assert await ring.keys.revoke_all("acme") == 3

    assert [await ring.keys.check(one.text) for one in mine] == [None, None, None]
    assert await ring.keys.check(other.text) is not None


async def test_pages_follow_each_other_without_gaps(ring: Ring) -> None:
    made = sorted([(await ring.keys.create(str(n), role=Role.READ)).id for n in range(7)])

    seen: list[str] = []
    while page := await ring.keys.page(after=seen[-1] if seen else "", limit=3):
        seen += [id for id, _ in page]

    assert seen == made


async def test_what_opens_nothing_is_forgotten_after_a_month(ring: Ring) -> None:
    expired = await ring.keys.create("expired", role=Role.READ, expires_s=10.0)
    revoked = await ring.keys.create("revoked", role=Role.READ)
    good = await ring.keys.create("good", role=Role.READ)
    await ring.keys.revoke(revoked.id)

    ring.clock.advance(20 * 86400.0)
    await ring.keys.sweep()
    kept = {id for id, _ in await ring.keys.page()}
    ring.clock.advance(20 * 86400.0)
    await ring.keys.sweep()

    assert kept == {expired.id, revoked.id, good.id}
    assert [id for id, _ in await ring.keys.page()] == [good.id]


async def test_a_key_needs_a_name_and_a_time_that_makes_sense(ring: Ring) -> None:
    for name, customer, expires_s in ((" ", None, None), ("a\nb", None, None), ("a", "", None), ("a", None, 0.0)):
        with pytest.raises(UserError):
            await ring.keys.create(name, role=Role.READ, customer=customer, expires_s=expires_s)


async def test_a_whole_key_that_is_given_for_an_id_is_not_repeated(ring: Ring) -> None:
    made = await ring.keys.create("one", role=Role.READ)

    with pytest.raises(NotFound) as caught:
        await ring.keys.revoke(made.text)

    assert made.text.rpartition("_")[2] not in str(caught.value)


def test_each_role_may_do_what_those_before_it_may() -> None:
    allowed = {role: [needed.value for needed in Role if role.allows(needed)] for role in Role}

    assert allowed == {
        Role.READ: ["read"],
        Role.OPERATE: ["read", "operate"],
        Role.ADMIN: ["read", "operate", "admin"],
    }


def test_a_customers_key_sees_that_customer_alone() -> None:
    whole = Principal(id="1")

    assert whole.sees("acme")
    assert whole.sees("bolt")
    assert replace(whole, customer="acme").sees("acme")
    assert not replace(whole, customer="acme").sees("bolt")
