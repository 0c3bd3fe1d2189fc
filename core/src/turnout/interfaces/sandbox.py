"""The sandbox: where customers' code runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import ClassVar, Final

from turnout.interfaces.opening import Openable
from turnout.model.definition import language_of_file
from turnout.model.execution import LogLine, SandboxReceipt
from turnout.model.payload import Encoded, File

__all__ = [
    "NO_EGRESS",
    "CodeBundle",
    "Credential",
    "Egress",
    "Exchange",
    "Failure",
    "FileAccess",
    "Isolation",
    "Job",
    "Limits",
    "Outcome",
    "Privilege",
    "Sandbox",
    "SandboxHandle",
    "SandboxStats",
    "Success",
]


class Privilege(StrEnum):
    """What a sandbox may need of the machine it runs on."""

    CHROOT = "chroot"
    """Root with SYS_CHROOT, SETUID, SETGID and KILL."""
    NAMESPACES = "namespaces"
    """Namespaces of users, processes and networks."""


class Isolation(StrEnum):
    """What one customer's code cannot get at."""

    FILESYSTEM = "filesystem"
    NETWORK = "network"
    PROCESSES = "processes"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of one handle. Sizes in bytes, times in seconds. `boot_s` bounds the start of a fresh process.

    `result_bytes` are of a result's JSON. Beside it, a job makes at most `files` files, with `files_bytes` of content in all.
    """

    memory_bytes: int = 256 * 1024 * 1024
    result_bytes: int = 512 * 1024 * 1024
    files: int = 1000
    files_bytes: int = 2 * 1024 * 1024 * 1024
    log_bytes: int = 1024 * 1024
    boot_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeBundle:
    """The code of one integration version: an immutable directory with its sources, `node_modules` and `site-packages`.

    `modules` are the entry files, relative to `directory`, that the flow's code steps run: a sandbox may load them
    ahead of time, for this tenant alone. A process runs those of one `language`.
    """

    hash: str
    directory: str
    modules: tuple[str, ...] = ()
    language: str = "javascript"
    native: tuple[str, ...] = ()
    """Python packages among its own that have extension modules."""

    def of(self, language: str) -> CodeBundle:
        """The same, for a process that runs that language: with its entry files alone."""
        modules = tuple(module for module in self.modules if language_of_file(module) == language)
        return replace(self, modules=modules, language=language)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAccess:
    """How a job gets at the content of files: `read` streams a file's content, `write` stores content the code made."""

    read: Callable[[File], AsyncIterator[bytes]]
    write: Callable[[AsyncIterator[bytes], str, str], Awaitable[File]]
    """Content, name, content type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A secret that customers' code uses without having it: it sends `placeholder`, and towards `hosts` alone (patterns as
    those of `Egress`) that becomes `secret`. `name` is what people call it (`connection crm, field token`), for messages.

    A placeholder has at least 16 characters, of letters, digits, `-`, `_`, `.` and `~` alone, and cannot be guessed.
    """

    placeholder: str
    secret: str = field(repr=False)
    hosts: tuple[str, ...]
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request that a job's code made, or was refused: no header, no query, no secret.

    `status` is the response's, None where none came; `refusal` says why then (and where a response broke off).
    `path` has placeholders where the code put them. Bytes are those of the bodies.
    """

    method: str
    host: str
    port: int
    path: str
    tls: bool
    status: int | None = None
    refusal: str = ""
    sent_bytes: int = 0
    received_bytes: int = 0
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """What a job may reach by HTTP and HTTPS, and with which credentials; a sandbox that does not isolate the network
    leaves it to the code.

    A host is `api.example.com`, `*.example.com` (any name below it), `*` (any public host), an IP address or a network
    (`10.1.0.0/16`); `example.com:8443` allows that port alone, a host without port 80 and 443. What resolves to a private
    or otherwise special address is reachable only where that address or a network with it is listed too.
    `observe` is told of each request when it has ended.
    """

    hosts: tuple[str, ...] = ()
    credentials: tuple[Credential, ...] = ()
    observe: Callable[[Exchange], None] = field(default=lambda exchange: None)


NO_EGRESS: Final = Egress()
"""Nothing is reachable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Call the default export of `module` (relative to the bundle), or `main` of one in Python, with `input`, within `timeout_s`.

    `context` is small JSON-like data, nothing secret: execution, step, attempt, integration, flow, instance, where there
    is a trace `traceparent` and `tracestate`, for the requests that the code makes, and where the step uses connections
    their fields in `connections`, with placeholders for what is secret.
    `log` is called with each line as it comes, in order, before the outcome is returned.
    """

    module: str
    input: Encoded
    context: Mapping[str, object]
    timeout_s: float
    files: FileAccess
    log: Callable[[LogLine], None] = field(default=lambda line: None)
    egress: Egress = NO_EGRESS


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """The code returned. `network` says whether the job opened a connection: then it is not repeated lightly."""

    output: Encoded
    cpu_ms: float
    network: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The code did not return a value.

    `kind` is the error's name (`TypeError`), or `timeout`, `memory`, `crashed`, `result_too_large`, `not_json`,
    `no_default_export` (in Python `no_main`), `import`. `stack` has the customer's own frames alone, paths relative to the bundle.
    """

    kind: str
    message: str
    stack: str = ""
    network: bool = False


Outcome = Success | Failure


class SandboxHandle(ABC):
    """One sandbox of one execution. Not safe for two jobs at once: acquire another."""

    @property
    @abstractmethod
    def usable(self) -> bool:
        """False after a job that timed out, crashed or broke the protocol: release it and acquire another."""

    @property
    def returns(self) -> bool:
        """Whether what is released serves other executions, so that it is let go of as early as can be."""
        return False

    @abstractmethod
    async def run(self, job: Job) -> Outcome:
        """Run the job to its outcome; never raises for anything the code does. Cancelling the call kills the process
        at once. Jobs of one handle run in one process, one after another, and share its globals and loaded modules."""

    @abstractmethod
    def receipt(self) -> SandboxReceipt:
        """What stood around the code that ran here, and what it used so far; after `release`, in all. Measured from outside,
        not asked of the code."""

    @abstractmethod
    async def release(self) -> None:
        """Let go of it: nothing that its code started is left, and it is never used again. Idempotent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxStats:
    """Of a pool of processes: those that wait to be used, those in use, and how many callers of `acquire` wait."""

    idle: int
    busy: int
    waiting: int


class Sandbox(Openable, ABC):
    """Makes handles. Each sentence is a promise and a test in `turnout.testing.sandbox`."""

    isolates: ClassVar[frozenset[Isolation]]
    languages: ClassVar[frozenset[str]]
    loads_native: ClassVar[bool] = True
    """Whether Python code can load the extension modules of its packages: not where a process can open nothing."""
    brokers: ClassVar[bool] = False
    """Whether it keeps to `Job.egress`: nothing but its hosts is reachable, and credentials are put in on the way."""

    privileges: ClassVar[frozenset[Privilege]] = frozenset()
    """What it needs of the machine: a target that does not allow it is refused before anything is deployed."""

    @abstractmethod
    async def start(self) -> Sequence[str]:
        """Check that the machine can run it and warm up; returns lines for people on what it does not isolate.
        `BackendError` says what is missing and how to install it."""

    @abstractmethod
    async def acquire(self, tenant: str, bundle: CodeBundle, limits: Limits) -> SandboxHandle:
        """A fresh process that has run nobody's code, or this tenant's top-level module code of this bundle alone.
        Nothing that an earlier handle's code did can be seen in it. `BackendError` if none starts within `boot_s`,
        `Unsupported` if the bundle's language is none of `languages`."""

    def stats(self) -> SandboxStats | None:
        """How its pool stands now; None where it keeps none."""
        return None

    @abstractmethod
    async def close(self) -> None:
        """End every process. Idempotent."""
