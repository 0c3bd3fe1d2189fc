"""Wheels of Python code steps, by the real pip and without a network: it finds them in a directory."""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from turnout.errors import BackendError, DefinitionError
from turnout.interfaces.sandbox import Failure, Limits, Outcome, Success
from turnout.local import wheels
from turnout.local.bundles import Bundle, BundleStore
from turnout.local.process_sandbox import ProcessSandbox
from turnout.model.definition import CodeSettings, CodeStep, Flow, Integration, PythonSettings
from turnout.testing.sandbox import job

STEP = CodeStep(id="shout", file="shout.py")
PACKAGE = {
    "loud/__init__.py": "from loud.volume import up\n",
    "loud/volume.py": "def up(text):\n    return text.upper()\n",
}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of wheels, which is all that pip looks at."""
    directory = tmp_path / "index"
    directory.mkdir()
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
    return directory


def wheel(index: Path, name: str, files: Mapping[str, str], tag: str = "py3-none-any") -> str:
    """Put a wheel of version 1.0 into the index; the line that pins it."""
    info = f"{name}-1.0.dist-info"
    contents = dict(files) | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = "".join(f"{path},sha256={_digest(text)},{len(text)}\n" for path, text in contents.items())
    path = index / f"{name}-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {**contents, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(zipfile.ZipInfo(file), text)
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def integration_in(directory: Path, *pins: str, source: str = "import loud\n") -> Integration:
    directory.mkdir(exist_ok=True)
    (directory / "shout.py").write_text(f"{source}\ndef main(input, context):\n    return loud.up(input)\n")
    (directory / "requirements.txt").write_text("\n".join(pins))
    code = CodeSettings(python=PythonSettings(requirements="requirements.txt"))
    return Integration(name="x", directory=str(directory), flows={"f": Flow(name="f", steps=(STEP,))}, code=code)


@pytest.fixture
def store(tmp_path: Path) -> BundleStore:
    return BundleStore(tmp_path / "store")


@pytest.fixture
async def sandbox() -> AsyncIterator[ProcessSandbox]:
    sandbox = ProcessSandbox(warm_floor=0)
    yield sandbox
    await sandbox.close()


async def run(sandbox: ProcessSandbox, bundle: Bundle, data: Any) -> Outcome:
    handle = await sandbox.acquire("acme", bundle.code.of("python"), Limits())
    try:
        return await handle.run(job("shout.py", data))
    finally:
        await handle.release()


async def test_a_step_uses_a_pinned_package(
    index: Path, store: BundleStore, sandbox: ProcessSandbox, tmp_path: Path
) -> None:
    pin = wheel(index, "loud", {**PACKAGE, "loud-1.0.data/scripts/loud": "#!python\n"})

    bundle = await store.build(integration_in(tmp_path / "project", pin))
    outcome = await run(sandbox, bundle, "hey")

    assert isinstance(outcome, Success), outcome
    assert json.loads(outcome.output.json) == "HEY"
    assert bundle.code.native == ()
    layer = (Path(bundle.code.directory) / "site-packages").resolve()
    assert (layer / "loud" / "__init__.py").stat().st_mode & 0o222 == 0
    assert list((layer / "loud" / "__pycache__").glob("volume.*.pyc"))
    assert not (layer / "bin").exists()


async def test_frames_of_packages_are_not_shown(
    index: Path, store: BundleStore, sandbox: ProcessSandbox, tmp_path: Path
) -> None:
    bundle = await store.build(integration_in(tmp_path / "project", wheel(index, "loud", PACKAGE)))

    outcome = await run(sandbox, bundle, 5)

    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.stack.count("    at ")) == ("AttributeError", 1)
    assert "at main (shout.py:4:" in outcome.stack


async def test_an_installed_layer_needs_no_index(index: Path, store: BundleStore, tmp_path: Path) -> None:
    pin = wheel(index, "loud", PACKAGE)
    first = await store.build(integration_in(tmp_path / "project", pin))
    (index / "loud-1.0-py3-none-any.whl").unlink()

    again = await store.build(
        integration_in(tmp_path / "project", f"# another text\n{pin}", source="import loud as loud")
    )

    assert again.hash != first.hash
    layers = [(Path(bundle.code.directory) / "site-packages").resolve() for bundle in (first, again)]
    assert layers[0] == layers[1]


async def test_a_file_that_is_not_what_was_pinned_is_refused(index: Path, store: BundleStore, tmp_path: Path) -> None:
    pin = wheel(index, "loud", PACKAGE)
    wheel(index, "loud", {**PACKAGE, "loud/more.py": "evil = 1\n"})

    with pytest.raises(DefinitionError, match=r"not what the requirements say: loud==1\.0"):
        await store.build(integration_in(tmp_path / "project", pin))


async def test_a_package_that_is_not_there_is_told(index: Path, store: BundleStore, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"No matching distribution found for quiet==1\.0"):
        await store.build(integration_in(tmp_path / "project", f"quiet==1.0 --hash=sha256:{'0' * 64}"))


async def test_a_source_distribution_is_not_built(index: Path, store: BundleStore, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    archive = index / "loud-1.0.zip"
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("loud-1.0/setup.py", f"open({str(ran)!r}, 'w')")
        written.writestr("loud-1.0/PKG-INFO", "Metadata-Version: 2.1\nName: loud\nVersion: 1.0\n")
    pin = f"loud==1.0 --hash=sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}"

    with pytest.raises(DefinitionError, match="No matching distribution"):
        await store.build(integration_in(tmp_path / "project", pin))

    assert not ran.exists()


async def test_an_unpinned_requirement_is_told_with_its_line(store: BundleStore, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"requirements.txt:2:1: 'loud' is not pinned"):
        await store.build(integration_in(tmp_path / "project", "# mine", "loud"))


async def test_packages_with_extension_modules_are_known(index: Path, store: BundleStore, tmp_path: Path) -> None:
    pin = wheel(index, "loud", {**PACKAGE, "loud/fast.cpython-311-x86_64-linux-gnu.so": "ELF"})

    bundle = await store.build(integration_in(tmp_path / "project", pin))

    assert bundle.code.native == ("loud",)
    assert (await store.load(bundle.hash)).code == bundle.code


async def test_without_pip_it_is_said_what_is_missing(
    store: BundleStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(wheels, "_SYSTEM_WHEELS", str(tmp_path))

    with pytest.raises(BackendError, match="pip is missing"):
        await store.build(integration_in(tmp_path / "project", f"loud==1.0 --hash=sha256:{'0' * 64}"))


async def test_a_project_without_python_steps_installs_nothing(store: BundleStore, tmp_path: Path) -> None:
    integration = integration_in(tmp_path / "project", f"loud==1.0 --hash=sha256:{'0' * 64}")
    (tmp_path / "project" / "a.js").write_text("export default () => 1")
    flows = {"f": Flow(name="f", steps=(CodeStep(id="a", file="a.js"),))}
    javascript = Integration(name="x", directory=integration.directory, flows=flows, code=integration.code)

    bundle = await store.build(javascript)

    assert not (Path(bundle.code.directory) / "site-packages").exists()
    assert not (Path(bundle.code.directory) / "shout.py").exists()
