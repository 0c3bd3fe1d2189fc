"""The part of the grammar that says how webhooks are verified and answered."""

from __future__ import annotations

from typing import Final

from turnout.definition.shapes import Choice, Data, Duration, Key, ListOf, MapOf, Number, Shape, Text
from turnout.interfaces.schemes import SCHEMES
from turnout.interfaces.signatures import ALGORITHMS, ENCODINGS

__all__ = ["CORS_KEY", "METHODS", "RESPOND", "RESPOND_KEY", "VERIFY", "WEBHOOK"]

METHODS: Final = ("POST", "GET", "PUT", "PATCH", "DELETE")
_HEADER: Final = r"[A-Za-z0-9-]{1,100}"

VERIFY: Final = Shape(
    "`verify`",
    (
        Key(
            name="scheme",
            type=Choice((*SCHEMES, "hmac"), "scheme"),
            doc="How the sender proves who it is: a provider's way, `api_key`, `bearer`, `basic`, or a signature by `hmac`.",
            required=True,
        ),
        Key(
            name="connection",
            type=Text(),
            doc="The connection whose fields hold the secret. Without one `bearer` takes the API keys of Turnout itself.",
        ),
        Key(
            name="fields",
            type=ListOf(Text(), single=True),
            doc="The fields with secrets, any of which will do; `secret` and `previous` unless the scheme has others.",
        ),
        Key(name="header", type=Text(), doc="`hmac`, `api_key`: the header with the signature or the key."),
        Key(name="algorithm", type=Choice(ALGORITHMS, "algorithm"), doc="`hmac`: `sha256` unless said."),
        Key(name="encoding", type=Choice(ENCODINGS, "encoding"), doc="`hmac`: `hex` unless said."),
        Key(
            name="prefix", type=Text(), doc="`hmac`, `api_key`: what stands before it in the header, such as `sha256=`."
        ),
        Key(name="separator", type=Text(), doc="`hmac`: what stands between several signatures in the header."),
        Key(
            name="signed",
            type=Text(),
            doc="`hmac`: what is signed, `{body}` unless said: `{timestamp}.{body}`; `{id}`, `{method}` and `{url}` too.",
        ),
        Key(name="timestamp", type=Text(), doc="`hmac`: the header with the time, in seconds since 1970."),
        Key(
            name="timestamp_prefix",
            type=Text(),
            doc="`hmac`: the time is a part of the signature's header, after this.",
        ),
        Key(name="timestamp_unit", type=Choice(("s", "ms"), "unit"), doc="`hmac`: `s` unless said."),
        Key(
            name="tolerance",
            type=Duration(),
            doc="How far the signed time may be from now, before or after; 5m unless said.",
        ),
        Key(name="id", type=Text(), doc="`hmac`: the header with the id that `{id}` in `signed` stands for."),
        Key(
            name="delivery",
            type=Text(),
            doc="Where a delivery's own id stands, `header:NAME` or `body:FIELD`: the same again is the same execution.",
        ),
    ),
    short="scheme",
)

_ANSWER: Final = (
    Key(
        name="status",
        type=Number(200, 599, integer=True, expression=True),
        doc="The status: a number from 200 to 599, or an expression that gives one.",
    ),
    Key(name="headers", type=MapOf(Text(), _HEADER, "header"), doc="Headers by name; text in them may hold `${{ }}`."),
    Key(
        name="body",
        type=Data(),
        doc="The body: text goes out as text, a file as itself, anything else as JSON. Text in it may hold `${{ }}`.",
    ),
)
RESPOND: Final = Shape(
    "`respond`",
    (
        Key(
            name="wait",
            type=Duration(),
            doc="Answer when the execution has ended, after this time at the latest; without it, once it is accepted.",
        ),
        *_ANSWER,
        Key(
            name="failed",
            type=Shape("`failed`", _ANSWER),
            doc="The answer when the execution did not succeed; 500 with its error unless said.",
        ),
        Key(
            name="late",
            type=Shape("`late`", _ANSWER),
            doc="The answer when it has not ended in time; 202 with its id unless said.",
        ),
    ),
)
RESPOND_KEY: Final = Key(
    name="respond", type=RESPOND, doc="How the sender is answered; 202 with the execution's id unless said."
)
CORS_KEY: Final = Key(
    name="cors",
    type=ListOf(Text(), single=True),
    doc="Origins whose pages may send it from a browser and read the answer, such as `https://shop.example`; `*` for all.",
)
WEBHOOK: Final = Shape(
    "`webhook`",
    (
        Key(name="verify", type=VERIFY, doc="What each request must prove; without it anybody may send it."),
        RESPOND_KEY,
        CORS_KEY,
        Key(
            name="methods",
            type=ListOf(Choice(METHODS, "method"), single=True),
            doc="The methods that start an execution; all of " + ", ".join(METHODS) + " unless said.",
        ),
    ),
    empty=True,
)
