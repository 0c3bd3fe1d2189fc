"""The fences of documentation pages: read, run, compared with what they say they print.

A page is run from top to bottom in a directory of its own, as a reader would. What a fence's first word and the rest of
its line mean:

    ```sh                      run; it must succeed
    ```sh exit=1               run; it must end with this status
    ```sh root                 run; only root can: the whole page is skipped for anybody else, who is told so
    ```sh background           run until the page ends; it is up once it says `serving on`, `takes executions` or `Running on`
    ```text                    after a `sh` fence: what that printed, ids, times and durations aside; a line `...` stands for any lines
    ```yaml FILE               written to FILE (also js, json, python, toml); without FILE, checked as it stands
    ```python append FILE      added at the end of FILE
    ```LANGUAGE skip=REASON    for reading alone, REASON being one word; how many there are is asserted in the tests
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

__all__ = ["PORTS", "Fence", "PageRun", "difference", "fences", "run_page"]

PORTS = ("8400", "8500")
"""What pages write; each run takes free ones in their place."""

_FENCE = re.compile(r"^( *)```([a-z]+)([^\n]*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_COMMAND_S = 60.0
_SHOWN_HOME = "/home/you"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """One fence: `options` are the words after the language; `output` what its page says that it prints, if it does."""

    page: Path
    line: int
    language: str
    options: tuple[str, ...]
    text: str
    output: str | None = None

    def option(self, name: str) -> str | None:
        return next((word.partition("=")[2] for word in self.options if word.startswith(f"{name}=")), None)

    @property
    def file(self) -> str | None:
        """The file that its text is written to."""
        return next((word for word in self.options if "." in word and "=" not in word), None)

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def fences(page: Path) -> list[Fence]:
    """All fences of a page in order; a `text` fence right after a command's is that command's output."""
    text = page.read_text(encoding="utf-8")
    found: list[Fence] = []
    end = 0
    for match in _FENCE.finditer(text):
        body = re.sub(rf"^{match[1]}", "", match[4], flags=re.MULTILINE)
        follows = not text[end : match.start()].strip() and found and found[-1].language == "sh"
        if match[2] == "text" and follows:
            found[-1] = replace(found[-1], output=body)
        else:
            line = text.count("\n", 0, match.start()) + 1
            found.append(
                Fence(page=page, line=line, language=match[2], options=tuple(shlex.split(match[3])), text=body)
            )
        end = match.end()
    return found


class PageRun:
    """Runs a page's fences in a directory. Leaving the block ends what runs in the background."""

    def __init__(self, home: Path, path: str) -> None:
        """`path` is the PATH that commands are found on."""
        self._home = home
        self._here = home
        self._variables: dict[str, str] = {
            "PATH": path,
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PYTHONUTF8": "1",
            "COLUMNS": "100",
            "TERM": "dumb",
        }
        self._background: list[subprocess.Popen[bytes]] = []
        self._ports = {port: str(_free_port()) for port in PORTS}

    def __enter__(self) -> PageRun:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._background):  # what came first serves the others
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=20)

    def write(self, fence: Fence) -> None:
        """Write the fence's text to its file, in the directory that the page is in by then."""
        assert fence.file is not None
        target = self._here / fence.file
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("a" if "append" in fence.options else "w", encoding="utf-8") as file:
            file.write(self._inward(fence.text))

    def run(self, fence: Fence) -> str:
        """Run a `sh` fence; what it printed, as the reader would see it. `AssertionError` if it ends otherwise than the page says."""
        if "background" in fence.options:
            return self._start(fence)
        state = self._home / ".state"
        script = f"cd {shlex.quote(str(self._here))}\n{self._inward(fence.text)}"
        trailer = f'\n__status=$?; {{ pwd; env -0; }} > {shlex.quote(str(state))}; exit "$__status"'
        done = subprocess.run(
            ["sh", "-ec", f"trap '{trailer.strip()}' EXIT\n{script}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._variables,
            timeout=_COMMAND_S,
            check=False,
        )
        output = self._outward(done.stdout.decode())
        wanted = int(fence.option("exit") or 0)
        assert done.returncode == wanted, f"{fence}: ended with {done.returncode}, not {wanted}\n{output}"
        self._remember(state)
        return output

    def python(self, fence: Fence) -> None:
        """Run a Python fence, or its file."""
        done = subprocess.run(
            [sys.executable, "-c", self._inward(fence.text)],
            cwd=self._here,
            env=self._variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_COMMAND_S,
            check=False,
        )
        assert done.returncode == 0, f"{fence}:\n{done.stdout.decode()}"

    @property
    def here(self) -> Path:
        """The directory that the page is in."""
        return self._here

    def _remember(self, state: Path) -> None:
        """The working directory and the variables, for the next fence."""
        here, _, variables = state.read_bytes().partition(b"\n")
        self._here = Path(here.decode())
        pairs = (item.partition(b"=") for item in variables.split(b"\0") if item)
        self._variables = {name.decode(): value.decode() for name, _, value in pairs if name not in (b"PWD", b"OLDPWD")}

    def _start(self, fence: Fence) -> str:
        command = self._inward(fence.text).strip()
        command = re.sub(r"\bturnout dev\b", f"exec turnout dev --port {self._ports['8400']}", command)
        log = self._home / f".background-{len(self._background)}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["sh", "-ec", command],
                cwd=self._here,
                env={**self._variables, "PYTHONUNBUFFERED": "1"},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._background.append(process)
        deadline = time.monotonic() + _COMMAND_S
        while not any(sign in (text := log.read_text()) for sign in _UP):
            assert process.poll() is None, f"{fence}: ended with {process.returncode}\n{text}"
            assert time.monotonic() < deadline, f"{fence}: did not come up\n{text}"
            time.sleep(0.02)
        return self._outward(text)

    def _inward(self, text: str) -> str:
        for shown, taken in self._ports.items():
            text = text.replace(shown, taken)
        return text.replace(_SHOWN_HOME, str(self._home))

    def _outward(self, text: str) -> str:
        for shown, taken in self._ports.items():
            text = text.replace(taken, shown)
        return text.replace(str(self._home), _SHOWN_HOME)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


_UP = ("serving on", "takes executions", "Running on")
"""What a process in the background says once it is up."""

_CHANGING = (
    (re.compile(r"\b[0-9a-f]{40,64}\b"), "HASH"),
    (re.compile(r"\bturnout-secret-[0-9a-f]{32}\b"), "PLACEHOLDER"),
    (re.compile(r"\b0[0-9a-z]{25}\b"), "ID"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| UTC)?"), "TIME"),
    (re.compile(r"\b\d\d:\d\d:\d\d\.\d{3}"), "TIME"),
    (re.compile(r"(\"duration_ms\": )[\d.]+"), r"\1DURATION"),
    (re.compile(r"\+?\b\d+(\.\d+)? ?(ms|s)\b"), "DURATION"),
    (re.compile(r"\buid \d+"), "USER"),
    (re.compile(r"\d+(\.\d+)* \(.*\)|(?<=Python )\d+\.\d+\.\d+"), "VERSION"),
    (re.compile(r" *[█░]+ *"), " "),
    (re.compile(r"\b\d+(\.\d+)? MB(?= of)"), "SIZE"),
    (re.compile(r"\"headers\":\{.*"), "HEADERS"),
    (re.compile(r"[ \t]+"), " "),
)


def difference(expected: str, actual: str) -> str:
    """What differs, as a diff; empty if the output is as expected: ids, times, durations and white space aside, a line `...`
    in `expected` standing for any lines."""
    wanted, found = _plain(expected), _plain(actual)
    if _matches(wanted, found):
        return ""
    return "\n".join(difflib.unified_diff(wanted, found, "the page", "what was printed", lineterm=""))


def _plain(text: str) -> list[str]:
    for pattern, word in _CHANGING:
        text = pattern.sub(word, text)
    return [line.strip() for line in text.splitlines() if line.strip()]


def _matches(wanted: list[str], found: list[str]) -> bool:
    pattern = "".join(r"(?:[^\n]*\n)*?" if line in ("...", "…") else re.escape(line) + r"\n" for line in wanted)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in found)) is not None


def recorded(page: Path, outputs: Mapping[int, str]) -> str:
    """The page with the outputs of the fences at these lines put in place of what stands there."""
    text = page.read_text(encoding="utf-8")
    lines = text.split("\n")
    for at in sorted(outputs, reverse=True):
        close = next(number for number in range(at, len(lines)) if lines[number].strip() == "```")
        opening = next(number for number in range(close + 1, len(lines)) if lines[number].startswith("```text"))
        end = next(number for number in range(opening + 1, len(lines)) if lines[number].strip() == "```")
        lines[opening + 1 : end] = [line.rstrip() for line in outputs[at].rstrip().split("\n")]
    return "\n".join(lines)


def run_page(page: Path, home: Path, *, own_curl: bool = False) -> Iterator[tuple[Fence, str]]:
    """Run a page from top to bottom in the empty directory `home`; each command's fence with what it printed.

    Where there is no curl, or with `own_curl`, `tools.curl` takes its place. `AssertionError` names the fence that does not do
    what its page says.
    """
    path = search_path()
    if own_curl or shutil.which("curl", path=path) is None:
        path = os.pathsep.join([str(_own_curl(home)), path])
    with PageRun(home, path) as run:
        for fence in fences(page):
            if fence.option("skip") is not None:
                continue
            if fence.file is not None:
                run.write(fence)
            if fence.language == "sh":
                yield fence, run.run(fence)
            elif fence.file is None or fence.language == "toml":
                _check(fence, run)


def _check(fence: Fence, run: PageRun) -> None:
    """What is written to no file is held to what it is."""
    match fence.language:
        case "python":
            run.python(fence)
        case "yaml":
            (run.here / "checked.yaml").write_text(fence.text, encoding="utf-8")
            run.run(replace(fence, options=(), text="turnout validate --strict checked.yaml && rm checked.yaml"))
        case "toml":
            from turnout.config import load_settings

            load_settings(run.here)
        case "json":
            json.loads(fence.text)
        case other:
            raise AssertionError(f"{fence}: nothing is known to do with a {other!r} fence: name its file, or skip it")


def _own_curl(home: Path) -> Path:
    folder = home / ".bin"
    folder.mkdir()
    program = folder / "curl"
    script = Path(__file__).with_name("curl.py")
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(script))} "$@"\n')
    program.chmod(0o755)
    return folder


def search_path() -> str:
    """Where commands are found: `turnout` and `python` of this environment first."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def main(pages: list[str]) -> int:
    """Run pages and put what their commands print where they say it: `python -m tools.pages docs/tutorial/*.md`."""
    for name in pages:
        page = Path(name)
        with tempfile.TemporaryDirectory(prefix="turnout-docs-") as home:
            outputs = {fence.line: output for fence, output in run_page(page, Path(home)) if fence.output is not None}
        told = {fence.line: fence.output or "" for fence in fences(page)}
        stale = {line: output for line, output in outputs.items() if difference(told[line], output)}
        page.write_text(recorded(page, stale), encoding="utf-8")
        sys.stdout.write(f"{name}: {len(outputs)} outputs, {len(stale)} of them new\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
