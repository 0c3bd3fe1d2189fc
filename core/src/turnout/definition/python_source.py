"""Definitions in Python: a file that is run, and the one `Integration` that it leaves behind.

Running it is running its author's code with all rights of this process; only definitions of one's own project are loaded.
"""

from __future__ import annotations

import hashlib
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from turnout.errors import DefinitionError, Problem
from turnout.model.definition import Integration

__all__ = ["load_python"]


def load_python(path: Path) -> Integration:
    """The integration that a Python file defines: the variable `integration`, or the only `Integration` in it.

    While it runs, its directory is on `sys.path`. `DefinitionError` names the line where it failed, or says that there
    is no integration, or more than one.
    """
    path = path.resolve()
    found = _integrations(_run(path))
    if len(found) != 1:
        many = f"{len(found)} integrations: call the one that counts `integration`" if found else "no integration"
        hint = "" if found else "write `integration = Integration(name=…, flows=[…])`"
        raise DefinitionError([Problem(message=f"the file defines {many}", file=path.name, hint=hint)])
    return replace(found[0], directory=str(path.parent))


def _integrations(module: ModuleType) -> list[Integration]:
    named = getattr(module, "integration", None)
    if isinstance(named, Integration):
        return [named]
    found: dict[int, Integration] = {id(item): item for item in vars(module).values() if isinstance(item, Integration)}
    return list(found.values())


def _run(path: Path) -> ModuleType:
    """A module of the file's code as it is now: no bytecode is kept, so that a reload sees every change."""
    name = "turnout_definition_" + hashlib.sha256(str(path).encode()).hexdigest()[:16]
    module = ModuleType(name)
    module.__file__ = str(path)
    try:
        code = compile(path.read_bytes(), str(path), "exec")
        with _importable(module, path.parent):
            exec(code, module.__dict__)  # noqa: S102 - that is what a definition in Python is
    except DefinitionError as error:
        # Builders name the file that calls them in full, wherever it is.
        own = (replace(item, file=path.name) if item.file == str(path) else item for item in error.problems)
        raise DefinitionError(list(own)) from error
    except OSError as error:
        if error.filename == str(path):
            raise _failed(path, f"it cannot be read: {error.strerror}", 0, 0) from error
        raise _failure(path, error) from error
    except SyntaxError as error:
        line, column = (error.lineno or 0, error.offset or 0) if error.filename == str(path) else (0, 0)
        raise _failed(path, f"this is not Python: {error.msg}", line, column) from error
    except (Exception, SystemExit) as error:
        raise _failure(path, error) from error
    return module


@contextmanager
def _importable(module: ModuleType, directory: Path) -> Iterator[None]:
    """The module in `sys.modules` (dataclasses and pydantic look there) and its neighbours importable."""
    sys.modules[module.__name__] = module
    sys.path.insert(0, str(directory))
    try:
        yield
    finally:
        sys.path.remove(str(directory))


def _failure(path: Path, error: BaseException) -> DefinitionError:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = frames[-1].lineno or 0 if frames else 0
    return _failed(path, f"running it failed: {type(error).__name__}: {error}", line, 1 if line else 0)


def _failed(path: Path, message: str, line: int, column: int) -> DefinitionError:
    return DefinitionError([Problem(message=message, file=path.name, line=line, column=column)])
