"""Rotating the keys of a project: the ring that protects its file of secrets, and what wraps and is a data key."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from turnout.local.keys import KEY_BYTES
from turnout.local.stores import Stores
from turnout.services.rotation import Progress, Rotation

__all__ = ["WrappingRotation", "rotate_wrapping_key"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappingRotation:
    """What was done: whether the key file got a `new_key`, and how many `customers` have their data keys wrapped anew.
    `resumed`: it finished what had been begun before, and made no key."""

    new_key: bool
    customers: int
    resumed: bool


async def rotate_wrapping_key(stores: Stores, progress: Progress) -> WrappingRotation:
    """Put a new key in front of the ring, encrypt the file of secrets with it, and wrap every data key anew.

    Where the newest key is not yet what encrypts everything (since a rotation was cut short, the key in `TURNOUT_SECRET_KEY`
    is another one, or `[stores] keys` says another backend), that is finished, and no key is made. A ring from the
    environment gets its new key there: this makes none.
    """
    rotation = Rotation(stores.catalog, stores.vault)
    resumed = bool(await stores.secrets.outdated() or await rotation.outdated())
    new_key = not resumed and not stores.keys.from_environment
    await stores.secrets.rotate(secrets.token_bytes(KEY_BYTES) if new_key else stores.keys.ring()[0])
    return WrappingRotation(new_key=new_key, customers=await rotation.rewrap(progress), resumed=resumed)
