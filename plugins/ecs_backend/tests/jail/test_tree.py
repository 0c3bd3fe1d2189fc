"""The jail's tree: nothing in it but what must be, all of it root's and closed, and each way to spoil it is seen and mended."""

from __future__ import annotations

import json
import os
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from turnout.errors import BackendError, SettingsError, TurnoutError
from turnout.sandbox.node import BOOTSTRAP, node_binary
from turnout_ecs.jail.building import build
from turnout_ecs.jail.manifest import Manifest
from turnout_ecs.jail.tree import Jail, find, manifest_of, verify

LANGUAGES: Final = ("javascript",)
CAPABILITY: Final = struct.pack("<5I", 0x02000001, 1 << 21, 0, 0, 0)
"""CAP_SYS_ADMIN, permitted and effective, as the attribute of a file has it."""
ACL: Final = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, rights, who)
    for tag, rights, who in (
        (1, 5, 2**32 - 1),
        (2, 7, 12345),
        (4, 5, 2**32 - 1),
        (16, 5, 2**32 - 1),
        (32, 5, 2**32 - 1),
    )
)
"""Everything for the user 12345, beside r-x for all."""

pytestmark = pytest.mark.usefixtures("needs_root")


@pytest.fixture(scope="module")
def shared(needs_root: None) -> Iterator[Path]:
    """A directory with a jail, which each test leaves as it was or has built again."""
    with tempfile.TemporaryDirectory(prefix="turnout-tree-") as name:
        build(Path(name), languages=LANGUAGES)
        yield Path(name)


@pytest.fixture
def own(shared: Path) -> Jail:
    """The shared jail, whole."""
    return build(shared, languages=LANGUAGES).jail


def test_the_tree_holds_node_its_libraries_the_bootstrap_and_the_seal_and_is_closed(own: Jail) -> None:
    files, odd = {}, []
    for directory, _, names in os.walk(own.root):
        for path in (Path(directory), *(Path(directory, name) for name in names)):
            status = path.lstat()
            if not stat.S_ISDIR(status.st_mode):
                files[f"/{path.relative_to(own.root)}"] = path
            if status.st_uid or status.st_gid or status.st_mode & 0o7222 or stat.S_ISLNK(status.st_mode):
                odd.append((path, oct(status.st_mode), status.st_uid))

    assert odd == []
    assert not own.root.stat().st_mode & 0o222
    loaders = {name for name in files if Path(name).name.startswith("ld-")}
    libraries = {name for name in files if ".so" in Path(name).name} - loaders
    assert len(loaders) == 1
    assert any(name.endswith("/libc.so.6") for name in libraries)
    bootstrap = {f"/bootstrap/{source.name}" for source in BOOTSTRAP.glob("*.[cm]js")}
    assert set(files) == {"/node", "/seal.node", *bootstrap, *loaders, *libraries}
    assert files["/node"].read_bytes() == Path(node_binary()).read_bytes()
    assert not files["/node"].samefile(node_binary())


def test_what_is_in_the_manifest_is_what_node_says_of_itself(own: Jail) -> None:
    said = subprocess.run(
        ["/usr/sbin/chroot", str(own.root), "/node", "-p", "process.versions.node + ' ' + os.arch()"],
        capture_output=True,
        text=True,
        check=True,
    )

    arch = {"x86_64": "x64", "aarch64": "arm64"}[own.manifest.architecture]
    assert said.stdout.split() == [own.manifest.node, arch]
    assert 2**28 < own.manifest.data_base_bytes < 2**31  # V8 reserves, whatever it uses


def test_a_worker_finds_the_jail_in_a_few_milliseconds_and_without_reading_it(own: Jail) -> None:
    find(own.root.parent, languages=LANGUAGES)
    began = time.thread_time()
    for _ in range(10):
        assert find(own.root.parent, languages=LANGUAGES).root == own.root

    assert (time.thread_time() - began) / 10 < 0.005


def test_the_same_parts_make_the_same_tree(own: Jail, tmp_path: Path) -> None:
    other = build(tmp_path, languages=LANGUAGES).jail

    assert other.root.name == own.root.name
    assert other.manifest.files == own.manifest.files
    assert other.root.stat().st_mtime == own.root.stat().st_mtime


def _reopened(path: Path) -> Path:
    """Writable by root even without DAC_OVERRIDE."""
    path.parent.chmod(0o755)
    return path


def _appended(root: Path) -> None:
    with (root / "bootstrap" / "main.cjs").open("ab") as file:
        file.write(b"//")


def _rewritten(root: Path) -> None:
    path = root / "bootstrap" / "main.cjs"
    path.write_bytes(bytes(path.stat().st_size))


def _linked(root: Path) -> None:
    path = _reopened(root / "seal.node")
    path.unlink()
    path.symlink_to("/node")
    root.chmod(0o555)


def _replaced_by(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        path = _reopened(root / "seal.node")
        path.unlink()
        make(path)
        root.chmod(0o555)

    return spoil


SPOILT: Final[list[tuple[str, Callable[[Path], object], str]]] = [
    ("a longer file", _appended, "/bootstrap/main.cjs has "),
    ("another content", _rewritten, "/bootstrap/main.cjs was changed after the jail was built"),
    ("a setuid program", lambda root: (root / "node").chmod(0o4555), "/node has the mode 4555, not 0555"),
    ("a writable file", lambda root: (root / "seal.node").chmod(0o664), "/seal.node has the mode 0664, not 0444"),
    ("a writable directory", lambda root: (root / "bootstrap").chmod(0o777), "/bootstrap has the mode 0777, not 0555"),
    ("a writable root", lambda root: root.chmod(0o1777), "/ has the mode 1777, not 0555"),
    ("another owner", lambda root: os.chown(root / "node", 70000, 0), "/node belongs to 70000:0, not to root"),
    ("another group", lambda root: os.chown(root / "bootstrap", 0, 5), "/bootstrap belongs to 0:5, not to root"),
    ("one more file", lambda root: (root / "etc").write_text(""), "/etc does not belong there"),
    ("one more directory", lambda root: (root / "tmp").mkdir(), "/tmp does not belong there"),
    ("a hidden file", lambda root: (root / "lib" / ".x").write_text(""), "/lib/.x does not belong there"),
    ("a file less", lambda root: (root / "seal.node").unlink(), "/seal.node is missing"),
    ("a directory less", lambda root: shutil.rmtree(root / "bootstrap"), "/bootstrap is missing"),
    ("no tree", shutil.rmtree, "/ is missing"),
    ("a symbolic link", _linked, "/seal.node is a symbolic link, not a file"),
    ("a pipe", _replaced_by(os.mkfifo), "/seal.node is a pipe, not a file"),
    ("a directory for a file", _replaced_by(Path.mkdir), "/seal.node is a directory, not a file"),
    ("a second name", lambda root: (root.parent / "other").hardlink_to(root / "node"), "/node has a second name"),
    (
        "a capability",
        lambda root: os.setxattr(root / "node", "security.capability", CAPABILITY),
        "/node has the extended attribute security.capability",
    ),
    (
        "an access list",
        lambda root: os.setxattr(root / "node", "system.posix_acl_access", ACL),
        "/node has the extended attribute system.posix_acl_access",
    ),
]


@pytest.mark.parametrize(("spoil", "told"), [one[1:] for one in SPOILT], ids=[one[0] for one in SPOILT])
def test_a_jail_that_is_not_as_it_was_built_is_refused_and_built_again(
    own: Jail, spoil: Callable[[Path], object], told: str
) -> None:
    spoil(own.root)

    with pytest.raises(BackendError) as refused:
        find(own.root.parent, languages=LANGUAGES)
    with pytest.raises(BackendError) as refused_too:
        verify(own.root.parent, languages=LANGUAGES)
    (own.root.parent / "other").unlink(missing_ok=True)
    built = build(own.root.parent, languages=LANGUAGES)

    assert any(line.startswith(told) for line in str(refused.value).splitlines()[1:])
    assert f"turnout jail build --to {own.root.parent}" in str(refused.value)
    assert str(refused_too.value) == str(refused.value)
    assert built.fresh is ("second name" not in told)  # with that one gone, nothing was wrong any more
    assert verify(own.root.parent, languages=LANGUAGES).root == own.root
    assert sorted(path.name for path in own.root.parent.iterdir()) == [".lock", own.root.name, f"{own.root.name}.json"]


def test_a_change_that_leaves_size_and_time_as_they_were_is_seen_by_the_one_that_reads(own: Jail) -> None:
    path = own.root / "bootstrap" / "main.cjs"
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b"use strict", b"use Strict"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    find(own.root.parent, languages=LANGUAGES)
    with pytest.raises(BackendError, match=r"/bootstrap/main\.cjs has another content"):
        verify(own.root.parent, languages=LANGUAGES)


def _made_a_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


MANIFESTS: Final[list[tuple[str, Callable[[Path], object], str]]] = [
    ("missing", lambda file: file.unlink(), "there is no jail in "),
    ("cut off", lambda file: os.truncate(file, 100), "it is no manifest of this version"),
    ("of something else", lambda file: file.write_text('{"files": {}}'), "it is no manifest of this version"),
    ("anybody's", lambda file: file.chmod(0o666), "it must belong to root"),
    ("somebody's", lambda file: os.chown(file, 70000, 0), "it must belong to root"),
    ("a directory", _made_a_directory, "the jail's manifest cannot be read"),
    (
        "of another jail",
        lambda file: file.write_text(file.read_text().replace(file.stem.removeprefix("jail-"), "0" * 16)),
        "is the manifest of another jail",
    ),
]


@pytest.mark.parametrize(("spoil", "told"), [one[1:] for one in MANIFESTS], ids=[one[0] for one in MANIFESTS])
def test_a_manifest_that_cannot_be_trusted_is_refused_and_written_again(
    own: Jail, spoil: Callable[[Path], object], told: str
) -> None:
    spoil(manifest_of(own.root))

    with pytest.raises(BackendError, match=told):
        find(own.root.parent, languages=LANGUAGES)
    build(own.root.parent, languages=LANGUAGES)

    assert verify(own.root.parent, languages=LANGUAGES).manifest.files == own.manifest.files


def test_a_library_that_was_renewed_since_is_told_and_copied_by_the_next_build(own: Jail) -> None:
    file = manifest_of(own.root)
    told = json.loads(file.read_text())
    libc = next(path for path in told["files"] if path.endswith("/libc.so.6"))
    told["files"][libc]["source"]["mtime"] -= 1
    gone = next(path for path in told["files"] if path.endswith("/libm.so.6"))
    told["files"][gone]["source"]["path"] = "/nowhere/libm.so.6"
    file.write_text(json.dumps(told))

    assert find(own.root.parent, languages=LANGUAGES).outdated == (libc,)
    assert build(own.root.parent, languages=LANGUAGES).fresh
    assert find(own.root.parent, languages=LANGUAGES).outdated == ()
    assert not build(own.root.parent, languages=LANGUAGES).fresh


def test_a_jail_that_others_could_replace_is_not_used(own: Jail) -> None:
    own.root.parent.chmod(0o777)
    try:
        with pytest.raises(SettingsError, match="others than root may write to"):
            find(own.root.parent, languages=LANGUAGES)
    finally:
        own.root.parent.chmod(0o755)


def test_a_jail_of_another_version_is_no_jail_and_is_said_to_be_there(own: Jail, tmp_path: Path) -> None:
    manifest_of(own.root).rename(other := own.root.parent / "jail-0000000000000000.json")
    try:
        with pytest.raises(BackendError, match="were built by other versions of Turnout or Node: build it with"):
            find(own.root.parent, languages=LANGUAGES)
        with pytest.raises(BackendError, match=f"there is no jail in {tmp_path}: build it with"):
            find(tmp_path, languages=LANGUAGES)
        with pytest.raises(BackendError, match="there is no jail in /nowhere/at/all"):
            find(Path("/nowhere/at/all"), languages=LANGUAGES)
    finally:
        other.rename(manifest_of(own.root))


def test_only_root_builds(tmp_path: Path) -> None:
    os.seteuid(65534)
    try:
        with pytest.raises(BackendError, match="sudo turnout jail build"):
            build(tmp_path, languages=LANGUAGES)
    finally:
        os.seteuid(0)

    assert list(tmp_path.iterdir()) == []


def test_a_language_that_no_jail_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no jail runs 'cobol': the languages are javascript"):
        build(tmp_path, languages=("cobol",))


def test_a_file_system_from_which_nothing_may_be_run_is_refused(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from turnout_ecs.jail.building import build\n"
        "try: build(Path(sys.argv[1]), languages=('javascript',))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    mounted = 'mount -t tmpfs -o "$1" none "$2" && exec "$3" -c "$4" "$2"'

    told = {
        options: subprocess.run(
            ["unshare", "--mount", "sh", "-c", mounted, "sh", options, str(tmp_path), sys.executable, script],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for options in ("noexec,mode=755", "nosuid,nodev,mode=755")
    }

    assert told["noexec,mode=755"].startswith("SettingsError backends.chroot.jail: ")
    assert "is on a file system mounted noexec" in told["noexec,mode=755"]
    assert told["nosuid,nodev,mode=755"] == ""


def test_a_part_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "sparc64")

    with pytest.raises(TurnoutError, match="sparc64"):
        build(tmp_path, languages=LANGUAGES)


def test_a_jail_in_which_node_does_not_boot_is_not_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turnout_ecs.jail.contents.libraries", lambda program, loader: (loader,))

    with pytest.raises(BackendError, match=r"does not boot in the jail: .*libdl\.so\.2|libstdc"):
        build(tmp_path, languages=LANGUAGES)

    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_manifest_is_read_as_it_was_written(own: Jail, tmp_path: Path) -> None:
    (tmp_path / "manifest").write_bytes(own.manifest.encoded())

    assert Manifest.read(tmp_path / "manifest") == own.manifest
