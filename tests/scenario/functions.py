"""Functions as Lambda runs them: the unpacked package under the real runtime client, against a Runtime API of our own.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html. A process for each function, which sees the package, what is in
Lambda's own Python (boto3), and nothing of this environment.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Final, Self

__all__ = ["HERE", "Answer", "Function", "Host", "functions", "runtime_site"]

_RUNTIME = (
    *("awslambdaric", "runtime_client", "simplejson", "snapshot_restore_py"),
    *("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3"),
)
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a function returned; `error` is what it raised instead, as Lambda is told."""

    value: Any = None
    error: Mapping[str, Any] | None = None


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A process that is killed says nothing more."""


class Host:
    """Where functions run: here, each in a process with the interpreter of the tests."""

    def seen(self, code: Path, site: Path, home: Path) -> tuple[str, str, str]:
        """These directories as the process sees them."""
        return str(code), str(site), str(home)

    def start(
        self, program: str, code: Path, site: Path, environment: Mapping[str, str], log: IO[str]
    ) -> subprocess.Popen[bytes]:
        """Without the site's packages: what is not in the zip is not there."""
        command = [sys.executable, "-S", "-c", program]
        return subprocess.Popen(command, cwd=code, env=environment, stdout=log, stderr=subprocess.STDOUT)

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """As Lambda ends one: whenever it likes."""
        process.kill()
        process.wait()


HERE: Final = Host()


class Function:
    """One function of a package with its process. Call it from one thread at a time, as Lambda does."""

    def __init__(
        self,
        handler: str,
        code: Path,
        site: Path,
        home: Path,
        variables: Mapping[str, str],
        timeout_s: float,
        host: Host = HERE,
    ) -> None:
        self._host = host
        self._timeout_s = timeout_s
        self._events: queue.Queue[tuple[str, bytes, float]] = queue.Queue()
        self._answers: queue.Queue[Answer] = queue.Queue()
        self._server = _Server(("127.0.0.1", 0), self._api())
        self._thread = threading.Thread(target=self._server.serve_forever)
        home.mkdir()
        self.log = home / "log.txt"
        task_root, more, scratch = host.seen(code, site, home)
        program = f"import sys; sys.path[:0] = [{task_root!r}]; sys.path.append({more!r}); from awslambdaric.__main__ import main; main(['', {handler!r}])"
        environment = {
            "LAMBDA_TASK_ROOT": task_root,
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.server_port}",
            "AWS_LAMBDA_FUNCTION_NAME": handler,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "AWS_REGION": "eu-central-1",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "TMPDIR": scratch,
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables,
        }
        with self.log.open("w") as log:
            self._process = host.start(program, code, site, environment, log)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._host.end(self._process)
        self._events.put(("", b"", 0.0))  # who waits for one
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def call(self, event: Any = None, *, timeout_s: float | None = None) -> Answer:
        """Call it, with as much time as the template gives it, or with `timeout_s`, and wait for what it says."""
        deadline = time.time() + (self._timeout_s if timeout_s is None else timeout_s)
        self._events.put((str(uuid.uuid4()), json.dumps(event or {}).encode(), deadline))
        try:
            return self._answers.get(timeout=_PATIENCE_S)
        except queue.Empty:
            raise AssertionError(f"no answer: {self.log.read_text()[-3000:]}") from None

    def kill(self) -> None:
        self._host.end(self._process)

    def _api(self) -> type[BaseHTTPRequestHandler]:
        events, answers = self._events, self._answers

        class Api(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                id, event, deadline = events.get()
                if not id:
                    self.close_connection = True
                    return
                self.send_response(200)
                for name, value in {
                    "Lambda-Runtime-Aws-Request-Id": id,
                    "Lambda-Runtime-Deadline-Ms": str(int(deadline * 1000)),
                    "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-central-1:123456789012:function:f",
                    "Content-Type": "application/json",
                    "Content-Length": str(len(event)),
                }.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(event)

            def do_POST(self) -> None:
                body = json.loads(self._body() or b"null")
                answers.put(Answer(value=body) if self.path.endswith("/response") else Answer(error=body))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def _body(self) -> bytes:
                if self.headers.get("transfer-encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("content-length", "0")))
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            def log_message(self, format: str, *arguments: object) -> None:
                """Quiet."""

        return Api


def runtime_site(directory: Path, layers: Sequence[str] = ()) -> Path:
    """What Lambda's own Python has beside the standard library, and modules that layers bring."""
    directory.mkdir()
    for name in (*_RUNTIME, *layers):
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        found = origin.parent if origin.name == "__init__.py" else origin
        (directory / found.name).symlink_to(found)
    return directory


@contextmanager
def functions(
    package: Path,
    directory: Path,
    parameters: Mapping[str, str],
    extra: Mapping[str, str],
    host: Host = HERE,
    layers: Sequence[str] = (),
) -> Iterator[dict[str, Function]]:
    """Every function of a package, by its handler, with the variables that the template gives it: `parameters` are the
    template's own, `extra` are the machine's, `layers` are modules that its layers bring."""
    directory.mkdir()
    template = json.loads((package / "template.json").read_text())
    code, site = directory / "code", runtime_site(directory / "site", layers)
    with zipfile.ZipFile(package / "code.zip") as content:
        content.extractall(code)
        for one in content.infolist():  # as Lambda does, and extractall does not
            (code / one.filename).chmod(one.external_attr >> 16)
    before = _listed(code)
    with ExitStack() as stack:
        found = {}
        for resource in template["Resources"].values():
            if resource["Type"] != "AWS::Lambda::Function":
                continue
            properties = resource["Properties"]
            handler = properties["Handler"]
            variables = {
                name: value if isinstance(value, str) else parameters[value["Ref"]]
                for name, value in properties["Environment"]["Variables"].items()
            }
            name = handler.removeprefix("app.")
            made = Function(handler, code, site, directory / name, {**variables, **extra}, properties["Timeout"], host)
            found[name] = stack.enter_context(made)
        yield found
    assert _listed(code) == before, "a function wrote to its package, which is read-only on Lambda"


def _listed(directory: Path) -> dict[str, int]:
    return {str(path.relative_to(directory)): path.stat().st_size for path in directory.rglob("*")}
