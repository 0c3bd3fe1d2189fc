"""Make `.venv` from `uv.lock`, with nothing but a Python and its pip or venv: what `make setup` runs.

Imports the standard library alone and runs on old Pythons too, so that it can say that one is too old.
Nothing is done when nothing changed: `.venv/.turnout-setup` remembers what the environment was made from.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".turnout-setup"
OLDEST = (3, 11)
UV = "0.13.9"
CANDIDATES = ("python3.13", "python3.12", "python3.11", "python3.14", "python3", "python")


def main() -> None:
    wanted = fingerprint()
    if is_current(wanted):
        return
    python = find_python()
    uv = find_uv(python)
    say(f"Making .venv from uv.lock with {python}")
    environment = dict(os.environ, UV_PROJECT_ENVIRONMENT=str(VENV))
    environment.pop("VIRTUAL_ENV", None)
    run(
        [uv, "sync", "--locked", "--all-packages", "--all-groups", "--compile-bytecode", "--python", python],
        "uv could not make .venv, see its message above. Where this machine reaches the package index only by a "
        "mirror or a proxy, set UV_DEFAULT_INDEX, HTTPS_PROXY or SSL_CERT_FILE.",
        environment,
    )
    # uv does not compile what is installed in place; compiled, `turnout --help` is quick from the first call.
    sources = [str(folder / "src") for folder in distributions()]
    run([venv_python(), "-m", "compileall", "-q", *sources], "a module could not be compiled, see above.")
    STAMP.write_text(wanted)
    say("Ready: .venv/bin/turnout --help")


def distributions() -> "list[Path]":
    """The folders of the workspace's distributions."""
    return [ROOT / "core", *sorted(file.parent for file in ROOT.glob("plugins/*/pyproject.toml"))]


def fingerprint() -> str:
    """What the environment depends on, and where it stands: its scripts hold that path."""
    files = [ROOT / "uv.lock", ROOT / "pyproject.toml", Path(__file__).resolve()]
    for folder in distributions():
        files += [folder / "pyproject.toml", *sorted(folder.glob("hatch_build.py")), *sorted(folder.glob("native/*"))]
    content = hashlib.sha256(os.fsencode(ROOT))
    for file in files:
        content.update(os.fsencode(file) + b"\0" + file.read_bytes() + b"\0")
    return content.hexdigest()


def is_current(wanted: str) -> bool:
    made = all(has_native_part(file.parent) for file in ROOT.glob("plugins/*/hatch_build.py"))
    return made and STAMP.is_file() and STAMP.read_text() == wanted and works([venv_python(), "-c", "import turnout"])


def has_native_part(folder: Path) -> bool:
    """Whether the programs that the build hook compiles are in the sources, where an editable install has them."""
    return any(folder.glob("src/*/jail/bin/launch-*"))


def venv_python() -> str:
    return str(VENV / "bin" / "python")


def find_python() -> str:
    """This Python if it is new enough, else one on the PATH; what has the name may still not run (pyenv)."""
    check = f"import sys; sys.exit(sys.version_info < {OLDEST})"
    for name in (sys.executable, *CANDIDATES):
        path = shutil.which(name)
        if path and works([path, "-c", check]):
            return path
    sys.exit(
        f"Turnout needs Python {OLDEST[0]}.{OLDEST[1]} or newer; {sys.executable} is {sys.version.split()[0]}, "
        "and there is no newer one on the PATH.\nInstall one, or name it: make setup PYTHON=/path/to/python"
    )


def find_uv(python: str) -> str:
    """The uv in `.tools`, of the version that this project is known to work with, installed if it is not there."""
    directory = ROOT / ".tools" / f"uv-{UV}"
    uv = str(directory / "bin" / "uv")
    if not works([uv, "--version"]):
        say(f"Installing uv {UV} into {directory.parent.name}")
        shutil.rmtree(directory, ignore_errors=True)
        install_uv(python, directory)
    return uv


def install_uv(python: str, directory: Path) -> None:
    """By the Python's own pip, or by a virtual environment's where it has none."""
    package = f"uv=={UV}"
    failed = f"pip could not install {package}, see its message above."
    if works([python, "-m", "pip", "--version"]):
        run([python, "-m", "pip", "install", "--quiet", "--target", str(directory), package], failed)
    elif works([python, "-c", "import ensurepip, venv"]):
        run([python, "-m", "venv", str(directory)], "a virtual environment could not be made, see above.")
        run([str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet", package], failed)
    else:
        sys.exit(
            f"{python} has neither pip nor ensurepip, so nothing can be installed with it.\n"
            "On Debian and Ubuntu: apt-get install python3-venv. Or name another: make setup PYTHON=/path/to/python"
        )


def works(command: "list[str]") -> bool:
    try:
        return subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def run(command: "list[str]", failed: str, environment: "dict[str, str] | None" = None) -> None:
    if subprocess.call(command, cwd=str(ROOT), env=environment) != 0:
        sys.exit(f"setup: {failed}")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
