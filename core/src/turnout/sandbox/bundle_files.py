"""A bundle's files for processes that can open none: named in one index, read here, sent over the channel.

A process sees its bundle at `/bundle`, one tree of sources and layers of packages. It names a file by its place in that tree, and a
place is only ever looked up among those that were found when the tree was walked: nothing that a process says becomes a
path. Links count where they name a file of the bundle or of its layer; other links are not there, nor is what is no file.

What is asked for is sent with the modules that it names in `require()` and `import`, and theirs: a package of 300 files
takes a few questions, not 300. The guess is made from the text alone; a wrong one costs bytes, a missing one a question.
A large file comes alone and in pieces, so that no question makes this process hold much.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from turnout.interfaces.sandbox import CodeBundle
from turnout.sandbox.code_view import VIRTUAL_DIRECTORY, Answer, CodeSource, CodeView
from turnout.sandbox.frames import Frame, FrameType
from turnout.sandbox.module_map import MAP_FILE

__all__ = ["BundleFiles", "OverChannel"]

_OWN: Final = frozenset({MAP_FILE, ".bundle.json"})
_LAYER: Final = "node_modules"
_LAYERS: Final = (_LAYER, "site-packages")
_MANIFEST: Final = "package.json"
_MANIFEST_KEYS: Final = ("name", "main", "type", "exports", "imports")
_DEEPEST: Final = 200
_MOST_FILES: Final = 100_000
_LARGEST_FILE: Final = 64 * 1024 * 1024
_LARGEST_ANSWER: Final = 1024 * 1024
_LARGEST_SCANNED: Final = 512 * 1024
_MOST_HELD: Final = 64 * 1024 * 1024
_MOST_BUNDLES: Final = 64
_NAMED: Final = re.compile(rb"""(?:\brequire\(|\bimport\(?|\bfrom)\s*["']([^"'\\\n]{1,200})["']""")
_CODE: Final = (".js", ".cjs", ".mjs")
_CONDITIONS: Final = ("node", "require", "import", "module-sync", "default")

Tree = dict[str, Any]
_asked = msgspec.json.Decoder(tuple[str, int]).decode
_json = msgspec.json.Encoder().encode


class BundleFiles:
    """The files of one bundle by their places in it. Walks the directory when it is made: not for the event loop."""

    def __init__(self, directory: str) -> None:
        self._paths: dict[str, str] = {}
        self._sizes: dict[str, int] = {}
        self._manifests: dict[str, Any] = {}
        self._named: dict[str, tuple[str, ...]] = {}
        self._root = os.path.realpath(directory)
        self._layers = {name: os.path.realpath(f"{self._root}/{name}") for name in _LAYERS}
        tree: Tree = {}
        self.fault = ""
        try:
            self._walk(self._root, "", tree)
        except (OSError, _TooMany) as error:
            self.fault = f"the bundle's files cannot be listed: {error}"
        self.index = _json({"files": tree, "packages": self._manifests})

    def path(self, place: str) -> str | None:
        """Where the file is on this machine; None for what the bundle does not have."""
        return self._paths.get(place)

    def size(self, place: str) -> int:
        return self._sizes[place]

    def named(self, place: str, content: bytes) -> tuple[str, ...]:
        """Places of the modules that the module's text seems to import."""
        known = self._named.get(place)
        if known is None:
            known = self._named[place] = tuple(dict.fromkeys(self._named_in(place, content)))
        return known

    def _walk(self, folder: str, place: str, tree: Tree) -> None:
        if place.count("/") >= _DEEPEST:
            raise _TooMany("its folders are too deep")
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                within = f"{place}/{entry.name}" if place else entry.name
                if within in _OWN or not _is_text(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=within in _LAYERS):
                    self._walk(self._layers.get(within, entry.path), within, tree.setdefault(entry.name, {}))
                elif (found := self._file(entry)) is not None:
                    self._add(within, *found)
                    tree[entry.name] = found[1]

    def _file(self, entry: os.DirEntry[str]) -> tuple[str, int] | None:
        """Real path and size of a regular file of the bundle."""
        path = entry.path
        try:
            if entry.is_symlink():
                path = os.path.realpath(path)
                if not path.startswith((f"{self._root}/", *(f"{layer}/" for layer in self._layers.values()))):
                    return None
                status = Path(path).lstat()
            else:
                status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        return (path, status.st_size) if stat.S_ISREG(status.st_mode) else None

    def _add(self, place: str, path: str, size: int) -> None:
        if len(self._paths) >= _MOST_FILES:
            raise _TooMany(f"they are more than {_MOST_FILES}")
        self._paths[place] = path
        self._sizes[place] = size
        folder, _, name = place.rpartition("/")
        if name == _MANIFEST:
            self._manifests[folder] = _manifest(Path(path)) if size <= _LARGEST_ANSWER else None

    def _named_in(self, place: str, content: bytes) -> Iterator[str]:
        folder = place.rpartition("/")[0]
        for match in _NAMED.finditer(content):
            try:
                name = match[1].decode()
            except UnicodeDecodeError:
                continue
            found = self._relative(folder, name) if name.startswith(".") else self._of_package(folder, name)
            if found and found.endswith((*_CODE, ".json")):
                yield found

    def _relative(self, folder: str, name: str) -> str | None:
        joined = os.path.normpath(f"{folder}/{name}" if folder else name)
        joined = "" if joined == "." else joined
        tries = (joined, *(f"{joined}{end}" for end in (".js", ".json")), f"{joined}/index.js".lstrip("/"))
        return next((place for place in tries if place in self._paths), None)

    def _of_package(self, folder: str, name: str) -> str | None:
        parts = name.split("/")
        length = 2 if name.startswith("@") else 1
        package, rest = "/".join(parts[:length]), "/".join(parts[length:])
        at: str | None = folder
        while at is not None:
            base = f"{at}/{_LAYER}/{package}" if at else f"{_LAYER}/{package}"
            manifest = self._manifests.get(base)
            if isinstance(manifest, dict):
                return self._entry(base, manifest, rest)
            at = at.rpartition("/")[0] if at else None
        return None

    def _entry(self, base: str, manifest: Mapping[str, Any], rest: str) -> str | None:
        exports = manifest.get("exports")
        if exports is not None:
            target = _target(exports, f"./{rest}" if rest else ".")
            return self._relative(base, target) if target else None
        main = manifest.get("main")
        wanted = rest or (main if isinstance(main, str) else "index.js")
        return self._relative(base, wanted)


class _TooMany(Exception):
    pass


def _is_text(name: str) -> bool:
    """Whether the name is UTF-8: no other can be told, or imported."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def _manifest(path: Path) -> Mapping[str, Any] | None:
    """What finding modules needs of a package.json; None where that is no JSON object."""
    try:
        whole = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return {key: whole[key] for key in _MANIFEST_KEYS if key in whole}


def _target(exports: object, subpath: str) -> str | None:
    """What `exports` most likely gives to code of either kind."""
    if isinstance(exports, dict) and any(key.startswith(".") for key in exports):
        exports = exports.get(subpath)
    elif subpath != ".":
        return None
    for _ in range(8):
        if isinstance(exports, dict):
            exports = next((exports[key] for key in exports if key in _CONDITIONS), None)
        elif isinstance(exports, list):
            exports = exports[0] if exports else None
    return exports if isinstance(exports, str) else None


class OverChannel(CodeSource):
    """For processes that can open no files. Keeps what was read lately, for the next process of the same bundle."""

    def __init__(self) -> None:
        self._bundles: OrderedDict[str, asyncio.Task[BundleFiles]] = OrderedDict()
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._held_bytes = 0
        self._lock = threading.Lock()

    def view(self, bundle: CodeBundle, *, mapped: bool) -> CodeView:
        return _ChannelView(self, bundle.directory, mapped=mapped)

    async def files(self, directory: str) -> BundleFiles:
        """The files of the bundle in `directory`, walked once: a bundle never changes."""
        task = self._bundles.get(directory)
        if task is None:
            task = asyncio.ensure_future(asyncio.to_thread(BundleFiles, directory))
            self._bundles[directory] = task
            if len(self._bundles) > _MOST_BUNDLES:
                self._bundles.popitem(last=False)
        files = task.result() if task.done() else await asyncio.shield(task)
        if files.fault:
            self._bundles.pop(directory, None)
        return files

    def read(self, path: str) -> bytes:
        """What the file holds. From any thread."""
        with self._lock:
            content = self._held.get(path)
            if content is not None:
                self._held.move_to_end(path)
                return content
        content = Path(path).read_bytes()
        with self._lock:
            if path not in self._held and len(content) <= _MOST_HELD // 4:
                self._held[path] = content
                self._held_bytes += len(content)
            while self._held_bytes > _MOST_HELD:
                self._held_bytes -= len(self._held.popitem(last=False)[1])
        return content


class _ChannelView(CodeView):
    directory = VIRTUAL_DIRECTORY

    def __init__(self, source: OverChannel, directory: str, *, mapped: bool) -> None:
        self.mapped = mapped
        self._source = source
        self._real = directory
        self._sent: set[str] = set()

    async def opening(self) -> Answer | None:
        content = b""
        if self.mapped:
            try:
                content = await asyncio.to_thread(self._source.read, f"{self._real}/{MAP_FILE}")
            except OSError:
                self.mapped = False
        return FrameType.ENTER, _json({"directory": self.directory, "mapped": self.mapped}), content

    async def answer(self, frame: Frame) -> Answer:
        files = await self._source.files(self._real)
        if files.fault:
            return FrameType.REFUSED, f"EIO: {files.fault}".encode(), b""
        if frame.type is FrameType.INDEX:
            return FrameType.CONTENT, b"", files.index
        try:
            place, start = _asked(frame.meta)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return FrameType.REFUSED, b"EINVAL", b""
        if files.path(place) is None:
            return FrameType.REFUSED, b"ENOENT", b""
        if files.size(place) > _LARGEST_FILE:
            return FrameType.REFUSED, b"EFBIG", b""
        try:
            if files.size(place) > _LARGEST_ANSWER:
                return await asyncio.to_thread(_piece, files.path(place) or "", place, start)
            return await asyncio.to_thread(self._with_neighbours, files, place)
        except OSError:
            return FrameType.REFUSED, b"EIO", b""

    def _with_neighbours(self, files: BundleFiles, first: str) -> Answer:
        """The file, and what it leads to that was not sent yet, as far as fits."""
        index: list[tuple[str, int]] = []
        contents: list[bytes] = []
        left = _LARGEST_ANSWER
        open_places = deque([first])
        met = {first}
        while open_places:
            place = open_places.popleft()
            size = files.size(place)
            if place != first and (place in self._sent or size > left):
                continue
            content = self._source.read(files.path(place) or "")
            left -= len(content)
            index.append((place, len(content)))
            contents.append(content)
            self._sent.add(place)
            if place.endswith(_CODE) and size <= _LARGEST_SCANNED:
                for named in files.named(place, content):
                    if named not in met:
                        met.add(named)
                        open_places.append(named)
        return FrameType.CONTENT, _json(index), b"".join(contents)


def _piece(path: str, place: str, start: int) -> Answer:
    """The part of a large file that begins at `start`."""
    with Path(path).open("rb") as file:
        file.seek(min(max(0, start), _LARGEST_FILE))
        content = file.read(_LARGEST_ANSWER)
    return FrameType.CONTENT, _json([(place, len(content))]), content
