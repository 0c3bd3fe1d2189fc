"""What a jail holds for Python: the interpreter, what it needs to begin, its extension modules, the rest of its standard library
as one file, and the bootstrap."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Final

from turnout.sandbox.python import PYTHON_BOOTSTRAP, python_binary
from turnout.sandbox.python_pack import compiled, extension_modules, pack, standard_library

from turnout_ecs.jail.launcher import seal_binary
from turnout_ecs.jail.parts import RUN, Language, Part

__all__ = ["BOOTSTRAP_AT", "INTERPRETER_AT", "PACK_AT", "PYTHON", "SEAL_AT"]

INTERPRETER_AT: Final = "/python/bin/python"
BOOTSTRAP_AT: Final = "/bootstrap_python/main.py"
PACK_AT: Final = "/python/stdlib.pack"
SEAL_AT: Final = "/seal-python.so"
_LIBRARY: Final = f"/python/lib/python{sys.version_info.major}.{sys.version_info.minor}"
_TO_BEGIN: Final = ("encodings/__init__", "encodings/aliases", "encodings/utf_8", "__future__")
"""What is imported before there is the pack."""
_CACHED: Final = f"{sys.implementation.cache_tag}.pyc"


def _parts() -> Iterator[Part]:
    library = standard_library()
    yield Part(path=INTERPRETER_AT, source=Path(python_binary()), mode=RUN, linked=True)
    yield Part(path=SEAL_AT, source=seal_binary("python"), mode=RUN)
    yield Part(path=PACK_AT, source=library / "os.py", made=pack)
    # By these two the interpreter finds its library, without a word on standard error.
    yield Part(path=f"{_LIBRARY}/os.py", source=library / "os.py")
    yield Part(path=f"{_LIBRARY}/lib-dynload/README", source=library / "os.py", made=bytes)
    for name in _TO_BEGIN:
        source = library / f"{name}.py"
        inside = f"{_LIBRARY}/{name}.pyc"
        yield Part(path=inside, source=source, made=partial(compiled, source, inside))
    for _, source in extension_modules():
        yield Part(path=f"{_LIBRARY}/lib-dynload/{source.name}", source=source, mode=RUN, linked=True)
    for source in _bootstrap():
        inside = f"/bootstrap_python/{source.name}"
        yield Part(path=inside, source=source)
        cached = f"/bootstrap_python/__pycache__/{source.stem}.{_CACHED}"
        yield Part(path=cached, source=source, made=partial(compiled, source, inside))


def _bootstrap() -> Sequence[Path]:
    return sorted(PYTHON_BOOTSTRAP.glob("*.py"))


@cache
def _identity() -> str:
    digest = hashlib.sha256()
    for source in (*_bootstrap(), seal_binary("python")):
        content = source.read_bytes()
        digest.update(f"{source.name} {len(content)}\n".encode() + content)
    interpreter = Path(python_binary())
    return f"{sys.version} {interpreter} {interpreter.stat().st_size} {digest.hexdigest()}"


PYTHON: Final = Language(name="python", parts=lambda: tuple(_parts()), identity=_identity)
