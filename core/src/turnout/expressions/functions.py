"""The functions of expressions beside JMESPath's own: the one table that evaluation, validation and docs read.

Exact and few. Each takes plain data and gives plain data; none reads anything but its arguments and the scope. What they
raise is `Refusal`, and their texts are bounded, so that no expression can fill the memory.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from jmespath.functions import Functions

from turnout.errors import StepError
from turnout.expressions import times
from turnout.expressions.faults import Refusal
from turnout.expressions.scope import Scope
from turnout.values import Value, type_name

__all__ = ["FUNCTIONS", "MAX_TEXT", "STANDARD_ARITY", "Function", "bounded", "call", "json_text", "too_long"]

MAX_TEXT: Final = 64 * 1024 * 1024
"""Characters of a text that an expression makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function: `signature` and `description` are for people.

    `run` takes the arguments, after the scope where the function `depends` on it. `volatile` functions tell the time.
    """

    signature: str
    description: str
    arity: tuple[int, float]
    run: Callable[..., Any]
    volatile: bool = False
    depends: bool = False

    @property
    def name(self) -> str:
        return self.signature.partition("(")[0]


def call(name: str, scope: Scope, arguments: list[Any]) -> Any:
    """The result of one of our functions. `Refusal` names the function and what its arguments must be."""
    try:
        function = FUNCTIONS[name]
        return function.run(scope, *arguments) if function.depends else function.run(*arguments)
    except Refusal as refusal:
        raise Refusal(
            f"{name}(): {refusal.reason}", hint=refusal.hint or f"it is called as {FUNCTIONS[name].signature}"
        ) from refusal


def text(data: Any, what: str = "the first argument") -> str:
    """The argument, which must be text."""
    if not isinstance(data, str):
        raise Refusal(f"{what} must be text, not {type_name(data)}")
    return data


def json_text(data: Any) -> str:
    """As compact JSON. Files have no JSON."""
    try:
        encoded = Value(data).encode()
    except StepError as error:
        raise Refusal(error.message) from error
    if encoded.files:
        raise Refusal(
            "a file cannot become text by itself", hint="ask for its `text`, `base64`, `name` or another field"
        )
    return bounded(encoded.json.decode())


def bounded(made: str) -> str:
    if len(made) > MAX_TEXT:
        raise too_long()
    return made


def too_long() -> Refusal:
    return Refusal(f"the text would be longer than {MAX_TEXT:,} characters", hint="do this in a code step")


def _default(value: Any, other: Any) -> Any:
    return other if value is None else value


def _parse_json(value: Any) -> Any:
    try:
        return Value.parse(text(value)).load()
    except StepError as error:
        raise Refusal(error.message, hint="its argument must be JSON text") from error


def _base64_encode(value: Any) -> str:
    try:
        return base64.b64encode(text(value).encode()).decode("ascii")
    except UnicodeEncodeError as error:
        raise Refusal("the text holds half a surrogate pair, which has no UTF-8") from error


def _base64_decode(value: Any) -> str:
    packed = "".join(text(value).split()).replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise Refusal("the argument is not base64 of UTF-8 text") from error


def _url_encode(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = json_text(value)
    try:
        return bounded(quote(text(value), safe=""))
    except UnicodeEncodeError as error:
        raise Refusal("the text holds half a surrogate pair, which has no UTF-8") from error


def _lower(value: Any) -> str:
    return text(value).lower()


def _upper(value: Any) -> str:
    return text(value).upper()


def _trim(value: Any, characters: Any = None) -> str:
    return text(value).strip(None if characters is None else text(characters, "the second argument"))


def _split(value: Any, separator: Any) -> list[str]:
    parts = text(separator, "the second argument")
    if not parts:
        raise Refusal("the separator is empty")
    return text(value).split(parts)


def _replace(value: Any, old: Any, new: Any) -> str:
    subject, old_text, new_text = text(value), text(old, "the second argument"), text(new, "the third argument")
    if not old_text:
        raise Refusal("the text to replace is empty")
    longer = len(new_text) - len(old_text)
    if longer > 0 and len(subject) + subject.count(old_text) * longer > MAX_TEXT:
        raise too_long()
    return subject.replace(old_text, new_text)


def _from_items(value: Any) -> dict[str, Any]:
    if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        raise Refusal("the argument must be a list of [key, value] pairs")
    return {text(key, "each key"): item for key, item in value}


def _items(value: Any) -> list[list[Any]]:
    if not isinstance(value, dict):
        raise Refusal(f"the argument must be an object, not {type_name(value)}")
    return [[key, item] for key, item in value.items()]


def _callback_url(scope: Scope, step: Any) -> Any:
    provided = scope.functions.get("callback_url")
    if provided is None:
        raise Refusal("there are no callback URLs here", hint="it works inside a flow that a service runs")
    return provided(text(step))


def _table(*functions: Function) -> dict[str, Function]:
    return {function.name: function for function in functions}


FUNCTIONS: Final = _table(
    Function(
        signature="now()",
        description="The time of the evaluation as ISO 8601 text in UTC: `2026-11-23T18:40:00.000Z`.",
        arity=(0, 0),
        run=lambda scope: times.iso(scope.now),
        volatile=True,
        depends=True,
    ),
    Function(
        signature="epoch(time)",
        description="A time as seconds since 1970-01-01 UTC. A time is ISO 8601 text, or such seconds.",
        arity=(1, 1),
        run=times.epoch,
    ),
    Function(
        signature="add_time(time, duration)",
        description="A time moved by a duration, as ISO 8601 text in UTC: seconds, or text such as `90s`, `1h30m`, `-2d`.",
        arity=(2, 2),
        run=times.add,
    ),
    Function(
        signature="format_time(time, format[, zone])",
        description="A time as text by strftime codes (`%Y-%m-%d`), in UTC or an IANA zone such as `Europe/Berlin`.",
        arity=(2, 3),
        run=times.formatted,
    ),
    Function(
        signature="parse_time(text, format[, zone])",
        description="Text read by strptime codes, as ISO 8601 text in UTC; without an offset in it, it is in the zone, or UTC.",
        arity=(2, 3),
        run=times.parsed,
    ),
    Function(
        signature="uuid()",
        description="A new UUID; the same one when the step is repeated after a crash.",
        arity=(0, 0),
        run=lambda scope: scope.unique(),
        depends=True,
    ),
    Function(
        signature="base64_encode(text)",
        description="The UTF-8 of the text in base64. Of a file, ask for its field `base64`.",
        arity=(1, 1),
        run=_base64_encode,
    ),
    Function(
        signature="base64_decode(text)",
        description="The UTF-8 text in base64, padded or not, of the usual or the URL alphabet.",
        arity=(1, 1),
        run=_base64_decode,
    ),
    Function(
        signature="url_encode(text)",
        description="The text or number with all but letters, digits and `_.-~` percent-encoded, for a part of a URL.",
        arity=(1, 1),
        run=_url_encode,
    ),
    Function(
        signature="default(value, other)",
        description="The value, or the other where it is null. Both are evaluated.",
        arity=(2, 2),
        run=_default,
    ),
    Function(
        signature="parse_json(text)",
        description="The value that the JSON text stands for.",
        arity=(1, 1),
        run=_parse_json,
    ),
    Function(
        signature="to_json(value)",
        description="The value as JSON text, texts in quotes (JMESPath's `to_string` leaves texts as they are).",
        arity=(1, 1),
        run=json_text,
    ),
    Function(signature="lower(text)", description="The text in lower case.", arity=(1, 1), run=_lower),
    Function(signature="upper(text)", description="The text in upper case.", arity=(1, 1), run=_upper),
    Function(
        signature="trim(text[, characters])",
        description="The text without white space, or without the given characters, at both ends.",
        arity=(1, 2),
        run=_trim,
    ),
    Function(
        signature="split(text, separator)",
        description="The list of the parts between the separators.",
        arity=(2, 2),
        run=_split,
    ),
    Function(
        signature="replace(text, old, new)",
        description="The text with each `old` in it replaced. No patterns: both are taken literally.",
        arity=(3, 3),
        run=_replace,
    ),
    Function(
        signature="items(object)",
        description="The object as a list of `[key, value]` pairs.",
        arity=(1, 1),
        run=_items,
    ),
    Function(
        signature="from_items(pairs)",
        description="The object of a list of `[key, value]` pairs; of equal keys the last one counts.",
        arity=(1, 1),
        run=_from_items,
    ),
    Function(
        signature="callback_url(step)",
        description="The URL on which the `wait` step of that id takes its callback.",
        arity=(1, 1),
        run=_callback_url,
        depends=True,
    ),
)
"""By name, in the order in which the documentation lists them."""


def _standard_arity() -> dict[str, tuple[int, float]]:
    arity: dict[str, tuple[int, float]] = {}
    for name, entry in Functions.FUNCTION_TABLE.items():
        signature = entry["signature"]
        variadic = bool(signature and signature[-1].get("variadic"))
        arity[name] = (len(signature), math.inf if variadic else len(signature))
    return arity


STANDARD_ARITY: Final = _standard_arity()
"""JMESPath's own functions: the least and the most arguments by name."""
