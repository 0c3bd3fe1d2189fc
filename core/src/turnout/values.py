"""Values as they travel: JSON that is parsed only when somebody looks inside.

A `Value` holds JSON text, Python data, or both, each made from the other when it is first asked for. A large document
that only passes through an execution (fetched, given to JavaScript, posted) is never parsed here at all: a path into
unparsed text is followed by skipping, not by building objects.

Integers keep every digit; NaN and infinities, which JSON does not have, are refused. Files stand in Python data as
`turnout.model.payload.File`; in JSON text they are `null`, with their JSON pointers beside it (see `Encoded`).
Nesting is good to `MAX_DEPTH` levels; text from outside that nests deeper may be refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from turnout.errors import StepError
from turnout.model.payload import Encoded, File

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

__all__ = ["MAX_DEPTH", "NULL", "Value", "type_name"]

MAX_DEPTH: Final = 200
"""Levels of lists and objects that a value may have. Deeper values are refused with kind `too_deep`."""

_EAGER_BYTES: Final = 64 * 1024
"""Text up to this size is parsed whole when a path goes into it; skipping pays only for larger ones."""

_UNSET: Final = object()
_HALF_PAIR: Final = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")
_Shallow = dict[str, msgspec.Raw]
_decode_object = msgspec.json.Decoder(_Shallow).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_any = msgspec.json.Decoder().decode
_skip = msgspec.json.Decoder(msgspec.Raw).decode


class Value:
    """One JSON-like value, lazily parsed or written. Treat what `load` returns as read-only: it is shared."""

    __slots__ = ("_files", "_object", "_plain", "_text")

    def __init__(self, data: Any) -> None:
        """Of Python data: None, bool, int, float, str, list, tuple, dict with text keys, `File`, `Value`, and what
        offers `model_dump` (pydantic). Anything else is refused when it is encoded."""
        self._object: Any = data
        self._text: bytes | None = None
        self._files: tuple[tuple[str, File], ...] = ()
        self._plain = False  # no nested `Value` or model can be in it: it need not be searched again

    @classmethod
    def from_json(cls, text: bytes, files: tuple[tuple[str, File], ...] = ()) -> Value:
        """Of JSON text that is known to be valid: written by us or by `JSON.stringify`."""
        value = cls.__new__(cls)
        value._object = _UNSET
        value._text = text
        value._files = files
        value._plain = False
        return value

    @classmethod
    def parse(cls, text: bytes | str) -> Value:
        """Of JSON text from outside: checked, not built. `StepError` of kind `not_json` says where it goes wrong."""
        data = text.encode() if isinstance(text, str) else text
        try:
            if len(data) <= _EAGER_BYTES:
                return cls(_decode_any(data))
            _skip(data)
        except msgspec.DecodeError as error:
            raise StepError(f"not JSON: {_why(data, error)}", kind="not_json", retryable=False) from error
        except RecursionError as error:
            raise _too_deep() from error
        return cls.from_json(data)

    @classmethod
    def from_encoded(cls, encoded: Encoded) -> Value:
        """Of what `encode` returned. The caller has fetched the text if it was stored."""
        return cls.from_json(encoded.json, encoded.files)

    def load(self) -> Any:
        """The value as Python data, parsed once and kept; files are `File`, nested `Value`s are resolved."""
        if self._object is _UNSET:
            assert self._text is not None
            try:
                self._object = _decode_any(self._text)
            except RecursionError as error:
                raise _too_deep() from error
            except msgspec.DecodeError as error:  # a number that JSON has and nobody can hold: `parse` skips those
                raise StepError(f"not JSON: {_why(self._text, error)}", kind="not_json", retryable=False) from error
            for pointer, file in self._files:
                self._object = _place(self._object, pointer, file)
        elif not self._plain and (
            type(self._object) in (dict, list, tuple, Value) or hasattr(self._object, "model_dump")
        ):
            self._object = _resolve(self._object, 0)
        self._plain = True
        return self._object

    def encode(self) -> Encoded:
        """The value as JSON text with its files beside it. `StepError` of kind `not_json` names what cannot be written."""
        if self._text is None:
            self._text, self._files = _write(self._object)
        return Encoded(json=self._text, files=self._files)

    @property
    def json(self) -> bytes:
        """The JSON text, files written as null."""
        return self.encode().json

    @property
    def files(self) -> tuple[tuple[str, File], ...]:
        return self.encode().files

    def get(self, key: str) -> Value | None:
        """The value of a member; None where there is none or this is not an object. Large text is skipped through."""
        if self._object is _UNSET and self._text is not None and len(self._text) > _EAGER_BYTES and not self._files:
            if self._text.lstrip()[:1] != b"{":
                return None
            part = _decode_object(self._text).get(key)
            return None if part is None else Value.from_json(bytes(part))
        data = self._object if self._object is not _UNSET else self.load()
        if isinstance(data, Value):
            return data.get(key)
        if hasattr(data, "model_dump"):
            data = self.load()
        if not isinstance(data, Mapping) or key not in data:
            return None
        inner = data[key]
        return inner if isinstance(inner, Value) else self._part(inner)

    def index(self, position: int) -> Value | None:
        """The value of an element, from the end if negative; None where there is none or this is not a list."""
        if self._object is _UNSET and self._text is not None and len(self._text) > _EAGER_BYTES and not self._files:
            if self._text.lstrip()[:1] != b"[":
                return None
            parts = _decode_array(self._text)
            return Value.from_json(bytes(parts[position])) if -len(parts) <= position < len(parts) else None
        data = self.load()
        if not isinstance(data, list | tuple) or not -len(data) <= position < len(data):
            return None
        return self._part(data[position])

    def _part(self, data: Any) -> Value:
        """A part of this value's data."""
        part = Value(data)
        part._plain = self._plain
        return part

    @property
    def file(self) -> File | None:
        """The file that this value is, or None; looks at nothing else."""
        if self._object is _UNSET:
            return self._files[0][1] if self._files and not self._files[0][0] else None
        if isinstance(self._object, Value):
            return self._object.file
        return self._object if isinstance(self._object, File) else None

    def members(self) -> dict[str, Value]:
        """The members of an object, each unparsed as long as the object is. `StepError` if this is not an object."""
        if self._object is _UNSET and self._text is not None and not self._files and self._text.lstrip()[:1] == b"{":
            return {key: Value.from_json(bytes(part)) for key, part in _decode_object(self._text).items()}
        data = self._object if isinstance(self._object, dict) else self.load()
        if not isinstance(data, Mapping):
            raise StepError(f"an object is needed, not {type_name(data)}", kind="type", retryable=False)
        return {key: item if isinstance(item, Value) else Value(item) for key, item in data.items()}

    def items(self) -> Iterator[Value]:
        """The elements of a list, each unparsed as long as the list is. `StepError` if this is not a list."""
        if self._object is _UNSET and self._text is not None and not self._files and self._text.lstrip()[:1] == b"[":
            yield from (Value.from_json(bytes(part)) for part in _decode_array(self._text))
            return
        data = self.load()
        if not isinstance(data, list | tuple):
            raise StepError(f"a list is needed, not {type_name(data)}", kind="type", retryable=False)
        yield from (Value(item) for item in data)

    @property
    def truthy(self) -> bool:
        """As JMESPath has it: null, false, "", [] and {} are false; everything else, 0 too, is true."""
        data = self.load()
        return not (
            data is None or data is False or (isinstance(data, str | list | tuple | Mapping) and len(data) == 0)
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and bool(self.load() == other.load())

    __hash__ = None  # type: ignore[assignment]  # mutable inside, compared by content

    def __repr__(self) -> str:
        shown = self._text if self._text is not None else repr(self._object).encode()
        return f"Value({shown[:80]!r}{'…' if len(shown) > 80 else ''})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """As a field of an action's inputs, a `Value` takes anything and keeps unparsed text unparsed."""
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            lambda data: data if isinstance(data, Value) else Value(data),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda value: value.load()),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: object, handler: object) -> dict[str, Any]:
        return {}


def type_name(data: object) -> str:
    """The JSON name of a Python value's type, for messages."""
    match data:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case File():
            return "a file"
        case _:
            return "an object" if isinstance(data, Mapping) else type(data).__name__


def _why(data: bytes, error: msgspec.DecodeError) -> str:
    """In words, where the library's are misleading."""
    if not data.strip():
        return "it is empty"
    if "truncated" in str(error) and _HALF_PAIR.search(data):
        return "half of a surrogate pair, which is no character"
    return str(error)


def _too_deep() -> StepError:
    return StepError(f"nested deeper than {MAX_DEPTH} levels", kind="too_deep", retryable=False)


def _place(data: Any, pointer: str, file: File) -> Any:
    """Put a file where its JSON pointer says, the text having null there."""
    if not pointer:
        return file
    *way, last = [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]
    target = data
    for part in way:
        target = target[int(part)] if isinstance(target, list) else target[part]
    target[int(last) if isinstance(target, list) else last] = file
    return data


def _resolve(data: Any, depth: int) -> Any:
    """The same data without nested `Value`s and models; shared where nothing had to change."""
    if depth > MAX_DEPTH:
        raise _too_deep()
    if isinstance(data, Value):
        return data.load()
    if isinstance(data, dict):
        changed = {key: _resolve(item, depth + 1) for key, item in data.items()}
        return changed if any(changed[key] is not data[key] for key in data) else data
    if isinstance(data, list | tuple):
        items = [_resolve(item, depth + 1) for item in data]
        same = isinstance(data, list) and all(new is old for new, old in zip(items, data, strict=True))
        return data if same else items
    if hasattr(data, "model_dump"):
        return _resolve(_fields(data), depth)
    return data


def _encodable(data: Any) -> Any:
    """What msgspec asks about: the types of ours that `_check` has let pass."""
    if isinstance(data, Value):
        return msgspec.Raw(data.encode().json)
    if isinstance(data, File):
        return None
    return _fields(data)


_encode = msgspec.json.Encoder(enc_hook=_encodable).encode


def _write(data: Any) -> tuple[bytes, tuple[tuple[str, File], ...]]:
    files: list[tuple[str, File]] = []
    _check(data, "", 0, files)
    try:
        return _encode(data), tuple(files)
    except UnicodeEncodeError as error:
        raise StepError(f"text that is not Unicode: {error}", kind="not_json", retryable=False) from error


def _fields(model: Any) -> dict[str, Any]:
    """A pydantic model's fields by the names they are written with."""
    return {field.alias or name: getattr(model, name) for name, field in type(model).model_fields.items()}


_PLAIN: Final = frozenset({type(None), bool, int, str})


def _check(data: Any, pointer: str, depth: int, files: list[tuple[str, File]]) -> None:  # noqa: C901, PLR0912 - one arm a type
    """Refuse what JSON does not have, and gather the files with their JSON pointers."""
    match data:
        case None | bool() | int() | str():
            return
        case float():
            if not math.isfinite(data):
                raise _not_json(pointer, f"{data} is not a JSON number")
        case dict():
            _deeper(depth)
            for key, item in data.items():
                if not isinstance(key, str):
                    raise _not_json(pointer, f"the key {key!r} is not text")
                if type(item) in _PLAIN:  # most are: not worth a call
                    continue
                _check(item, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}", depth + 1, files)
        case list() | tuple():
            _deeper(depth)
            for number, item in enumerate(data):
                if type(item) not in _PLAIN:
                    _check(item, f"{pointer}/{number}", depth + 1, files)
        case File():
            files.append((pointer, data))
        case Value():
            files.extend((pointer + inner, file) for inner, file in data.files)
        case _ if hasattr(data, "model_dump"):
            _check(_fields(data), pointer, depth, files)
        case bytes() | bytearray() | memoryview():
            raise _not_json(pointer, "bytes are not JSON: make a file of them")
        case _:
            raise _not_json(pointer, f"a {type(data).__name__} is not JSON")


def _deeper(depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise _too_deep()


def _not_json(pointer: str, why: str) -> StepError:
    return StepError(
        f"cannot be written as JSON: {why}" + (f" (at {pointer})" if pointer else ""), kind="not_json", retryable=False
    )


NULL: Final = Value.from_json(b"null")
"""JSON's null."""
