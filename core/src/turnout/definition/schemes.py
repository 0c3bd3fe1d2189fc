"""Which scheme verifies a flow's requests: what its connector declares, or what its `verify` says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from turnout.interfaces.connector import Connector
from turnout.interfaces.schemes import SCHEMES, Scheme
from turnout.interfaces.signatures import Signature, Token
from turnout.model.definition import Trigger
from turnout.model.webhook import Verify

__all__ = ["scheme_of", "scheme_said"]

_SIGNATURE = ("header", "algorithm", "encoding", "prefix", "separator", "signed", "timestamp", "timestamp_prefix")
_LONGEST_TOLERANCE_S = 6 * 3600.0
"""A copy is known as one for a day, and one may be good for twice this long: before its time, and after."""


def scheme_of(trigger: Trigger, connectors: Mapping[str, Connector]) -> Scheme | None:
    """The scheme; None where anybody may send, or the connector's trigger verifies by itself."""
    connector, _, name = trigger.type.partition(".")
    if name:
        return connectors[connector].triggers[name].scheme
    return None if trigger.hook.verify is None else scheme_said(trigger.hook.verify)


def scheme_said(verify: Verify) -> Scheme:
    """The scheme that `verify` describes. `ValueError` says what does not fit together in it."""
    if verify.scheme == "hmac":
        written: dict[str, Any] = {key: getattr(verify, key) for key in (*_SIGNATURE, "timestamp_unit", "id")}
        written = {key: value for key, value in written.items() if value}
        if "header" not in written:
            raise ValueError("`header` must say where the signature stands")
        scheme = Scheme(title="HMAC", proof=Signature(**written))
    elif verify.scheme not in SCHEMES:
        raise ValueError(f"there is no scheme {verify.scheme!r}")
    else:
        scheme = _narrowed(SCHEMES[verify.scheme], verify)
    if verify.tolerance_s is not None:
        if not (isinstance(scheme.proof, Signature) and scheme.proof.is_timed):
            raise ValueError("`tolerance` is for senders that sign a time, and this one signs none")
        if not 0 < verify.tolerance_s <= _LONGEST_TOLERANCE_S:
            raise ValueError("`tolerance` is longer than nothing and at most 6h")
        scheme = replace(scheme, proof=replace(scheme.proof, tolerance_s=verify.tolerance_s))
    if verify.delivery and not verify.delivery.startswith(("header:", "body:")):
        raise ValueError("`delivery` is `header:NAME` or `body:FIELD`")
    fields, delivery = verify.fields or scheme.fields, verify.delivery or scheme.delivery
    return replace(scheme, fields=fields, delivery=delivery)


def _narrowed(scheme: Scheme, verify: Verify) -> Scheme:
    written = [key for key in (*_SIGNATURE, "timestamp_unit", "id") if getattr(verify, key)]
    if verify.scheme == "api_key" and isinstance(scheme.proof, Token):
        own = [key for key in written if key not in ("header", "prefix")]
        proof = Token(header=verify.header or scheme.proof.header, prefix=verify.prefix)
        scheme, written = replace(scheme, proof=proof), own
    if written:
        raise ValueError(f"`{written[0]}` is for the scheme `hmac`: {verify.scheme!r} has its own")
    return scheme
