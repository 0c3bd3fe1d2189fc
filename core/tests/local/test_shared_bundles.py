"""Bundles that were built on one machine run on another, by the stores that both see."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest
from turnout.definition.loader import load_yaml_text
from turnout.errors import BackendError, NotFound
from turnout.interfaces.payloads import PayloadStore
from turnout.local.bundles import Bundle, BundleStore
from turnout.local.file_payloads import FilePayloads
from turnout.local.memory_catalog import MemoryCatalog
from turnout.local.shared_bundles import SharedBundles, within

DEFINITION = """
integration: orders
version: 1.0.0
flows:
  take:
    trigger: {webhook: {}}
    steps:
      - {id: total, code: total.js}
      - {id: twice, code: "export default (x) => 2 * x"}
"""


class Office:
    """Two machines with a directory each, and the stores that both see."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.catalog = MemoryCatalog()
        self.payloads = FilePayloads(root / "shared")

    def machine(self, name: str, payloads: PayloadStore | None = None) -> BundleStore:
        directory = self.root / name
        return BundleStore(directory, SharedBundles(directory, payloads or self.payloads, self.catalog))

    async def built(self, store: BundleStore) -> Bundle:
        source = self.root / "source"
        source.mkdir(exist_ok=True)
        (source / "total.js").write_text("import { add } from './lib/add.js'; export default add")
        (source / "lib").mkdir(exist_ok=True)
        (source / "lib" / "add.js").write_text("export const add = (a, b) => a + b")
        return await store.build(load_yaml_text(DEFINITION, directory=str(source)))


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def content(bundle: Bundle) -> dict[str, bytes]:
    directory = Path(bundle.code.directory)
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


async def test_a_bundle_is_the_same_on_another_machine(office: Office) -> None:
    built = await office.built(office.machine("one"))

    found = await office.machine("other").load(built.hash)

    assert (found.hash, found.integration, found.code.modules) == (built.hash, built.integration, built.code.modules)
    assert content(found) == content(built)
    assert found.code.directory.startswith(str(office.root / "other"))


async def test_layers_come_with_the_bundle_that_links_to_them_once(office: Office) -> None:
    one = office.root / "one"
    built = await office.built(BundleStore(one))
    layer = one / "npm" / "abc" / "node_modules"
    (layer / ".bin").mkdir(parents=True)
    (layer / "left-pad.js").write_text("exports.pad = 1")
    (layer / ".bin" / "pad").symlink_to("../left-pad.js")
    bundles = one / "bundles"
    for name in ("1" * 64, "2" * 64):
        (bundles / built.hash).rename(bundles / name) if name[0] == "1" else None
        if name[0] == "2":
            (bundles / name / "code").mkdir(parents=True)
            (bundles / name / "definition.json").write_bytes((bundles / ("1" * 64) / "definition.json").read_bytes())
        (bundles / name / "code" / "node_modules").symlink_to("../../../npm/abc/node_modules")
    shared = SharedBundles(one, office.payloads, office.catalog)
    for name in ("1" * 64, "2" * 64):
        await shared.give(f"bundles/{name}")

    other = office.machine("other")
    for name in ("1" * 64, "2" * 64):
        found = await other.load(name)
        packages = Path(found.code.directory) / "node_modules"
        assert packages.is_symlink()
        assert (packages / "left-pad.js").read_text() == "exports.pad = 1"
        assert (packages / ".bin" / "pad").resolve() == (
            office.root / "other/npm/abc/node_modules/left-pad.js"
        ).resolve()
    # The bundle, the layer, the other bundle: each is kept once.
    assert len(await shared.references()) == 3


async def test_a_bundle_that_nobody_gave_is_not_found(office: Office) -> None:
    with pytest.raises(NotFound):
        await office.machine("other").load("0" * 64)

    assert not (office.root / "other" / "bundles").exists()


async def test_what_is_given_again_is_not_packed_again(office: Office) -> None:
    class Counting(FilePayloads):
        puts = 0

        async def put(self, tenant: str, chunks: Any) -> Any:
            self.puts += not isinstance(chunks, bytes)
            return await super().put(tenant, chunks)

    counting = Counting(office.root / "shared")
    for name in ("one", "one", "third"):
        await office.built(office.machine(name, counting))

    assert counting.puts == 1


async def test_an_archive_that_is_gone_or_another_is_an_error_and_leaves_nothing(office: Office) -> None:
    built = await office.built(office.machine("one"))
    [(tenant, sha256)] = await office.machine("one").references()

    class Other(FilePayloads):
        async def open(self, tenant: str, sha256: str, *, chunk_bytes: int = 256 * 1024) -> Any:
            yield b"something else"

    with pytest.raises(BackendError, match="gave something else"):
        await office.machine("other", Other(office.root / "shared")).load(built.hash)
    await office.payloads.delete(tenant, sha256)
    with pytest.raises(BackendError, match="is gone from the payload store: publish its version again"):
        await office.machine("other").load(built.hash)

    assert not (office.root / "other" / "bundles").exists()


def member(name: str, *, link: str = "", kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = tarfile.SYMTYPE if link else kind
    entry.linkname = link
    return entry


@pytest.mark.parametrize(
    "members",
    [
        [member("../out")],
        [member("/out")],
        [member("code/link", link="../../out")],
        [member("link", link="/etc")],
        [member("link", link="code"), member("link/out")],
        [member("code/pipe", kind=tarfile.FIFOTYPE)],
        [member("code/hard", kind=tarfile.LNKTYPE)],
    ],
    ids=["up", "root", "link up", "link to root", "through a link", "pipe", "hard link"],
)
def test_an_archive_writes_nothing_outside_its_directory(tmp_path: Path, members: list[tarfile.TarInfo]) -> None:
    """Whichever Python it is: Debian 12's has no filters of its own."""
    archive = tmp_path / "archive"
    with tarfile.open(archive, "w:gz") as made:
        for one in members:
            made.addfile(one)
    with tarfile.open(archive) as made, pytest.raises(BackendError, match="is not unpacked"):
        list(within(made))
