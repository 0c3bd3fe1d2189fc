"""The bundle of a process that can open no files: what is in it, and what its files hold, asked for over the channel.

See `turnout/sandbox/bundle_files.py`. The bundle is at one virtual directory; modules of its sources and of its layer of wheels
are found and loaded from it, and so are the data that packages read as resources.
"""

from __future__ import annotations

import io
import marshal
import sys
from _frozen_importlib import ModuleSpec

from . import channel, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import CodeType, ModuleType
    from typing import Any

__all__ = ["Bundle", "Modules"]

_ask, _FETCH, _INDEX, _Refused = channel.ask, channel.FETCH, channel.INDEX, channel.Refused
_loads, _decode, _encode = marshal.loads, values.parse, values.written_small
_CACHE = f".{sys.implementation.cache_tag}.pyc"
_PYC_HEADER = 16


class Bundle:
    """The files of the bundle at `directory`."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._tree: Any = None

    def find(self, place: str) -> Any:
        """A file's size, a folder's content by name, or None."""
        if self._tree is None:
            self._tree = _decode(_ask(_INDEX, b"")[1])["files"]
        at = self._tree
        for part in place.split("/") if place else ():
            at = at.get(part) if isinstance(at, dict) else None
        return at

    def read(self, place: str) -> bytes:
        """What a file holds. `FileNotFoundError`, `OSError`."""
        size = self.find(place)
        if not isinstance(size, int):
            raise FileNotFoundError(2, "No such file or directory", f"{self.directory}/{place}")
        pieces: list[bytes] = []
        done = 0
        while not pieces or done < size:
            try:
                meta, body = _ask(_FETCH, _encode([place, done]))
            except _Refused as error:
                raise OSError(f"{self.directory}/{place}: {error}") from None
            piece = body[: _decode(meta)[0][1]]
            if not piece:
                break
            pieces.append(piece)
            done += len(piece)
        return b"".join(pieces)

    def place(self, path: str) -> str:
        """The place of an absolute path."""
        if not path.startswith(f"{self.directory}/"):
            raise FileNotFoundError(2, "No such file or directory", path)
        return path[len(self.directory) + 1 :]


class Modules:
    """Finds and loads the modules below one folder of the bundle; with `compiled`, from code that was compiled beforehand."""

    def __init__(self, bundle: Bundle, folder: str = "", *, compiled: bool = False) -> None:
        self._bundle = bundle
        self._folder = folder
        self._compiled = compiled

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        """Of a module at the top, or of one in a package of this folder."""
        folders = [self._folder] if path is None else [place for place in map(self._placed, path) if place is not None]
        for folder in folders:
            base = f"{folder}/{name.rpartition('.')[2]}".lstrip("/")
            found = self._bundle.find(base)
            if isinstance(found, dict) and isinstance(found.get("__init__.py"), int):
                return self._spec(name, f"{base}/__init__.py", base)
            if isinstance(self._bundle.find(f"{base}.py"), int):
                return self._spec(name, f"{base}.py")
            if isinstance(found, dict):
                spec = ModuleSpec(name, None, is_package=True)
                spec.submodule_search_locations = [f"{self._bundle.directory}/{base}"]
                return spec
        return None

    def spec_of(self, name: str, place: str) -> ModuleSpec:
        """Of an entry module, by its file."""
        return self._spec(name, place)

    def _placed(self, path: str) -> str | None:
        root = f"{self._bundle.directory}/{self._folder}".rstrip("/")
        if path != root and not path.startswith(f"{root}/"):
            return None
        return path[len(self._bundle.directory) + 1 :]

    def _spec(self, name: str, place: str, package: str | None = None) -> ModuleSpec:
        path = f"{self._bundle.directory}/{place}"
        spec = ModuleSpec(name, self, origin=path, is_package=package is not None)  # type: ignore[arg-type]
        spec.has_location = True
        if package is not None:
            spec.submodule_search_locations = [f"{self._bundle.directory}/{package}"]
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        assert spec is not None
        exec(self._code(str(spec.origin)), module.__dict__)

    def _code(self, path: str) -> CodeType:
        place = self._bundle.place(path)
        folder, _, file = place.rpartition("/")
        if self._compiled:
            cached = f"{folder}/__pycache__/{file.removesuffix('.py')}{_CACHE}"
            if isinstance(self._bundle.find(cached), int):
                return _loads(self._bundle.read(cached)[_PYC_HEADER:])  # type: ignore[no-any-return]
        return compile(self._bundle.read(place), path, "exec", dont_inherit=True)

    def get_data(self, path: str) -> bytes:
        """For `pkgutil.get_data`."""
        return self._bundle.read(self._bundle.place(path))

    def get_source(self, name: str) -> str | None:
        """For tracebacks that the code prints itself."""
        module = sys.modules.get(name)
        path = getattr(module, "__file__", None)
        return None if path is None else self.get_data(path).decode("utf-8", "replace")

    def get_resource_reader(self, name: str) -> _Resources:
        """For `importlib.resources`."""
        spec = getattr(sys.modules[name], "__spec__", None)
        assert spec is not None
        return _Resources(self._bundle, self._bundle.place(spec.submodule_search_locations[0]))


class _Resources:
    """The data beside a package's modules."""

    def __init__(self, bundle: Bundle, folder: str) -> None:
        self._bundle = bundle
        self._folder = folder

    def open_resource(self, resource: str) -> io.BytesIO:
        return io.BytesIO(self._bundle.read(f"{self._folder}/{resource}"))

    def resource_path(self, resource: str) -> str:
        raise FileNotFoundError(resource)

    def is_resource(self, name: str) -> bool:
        return isinstance(self._bundle.find(f"{self._folder}/{name}"), int)

    def contents(self) -> Iterator[str]:
        yield from self._bundle.find(self._folder) or ()
