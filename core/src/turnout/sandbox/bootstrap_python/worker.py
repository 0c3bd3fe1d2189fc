"""Runs jobs, one after another: loads the module, calls its `main`, tells what it returned or raised."""

from __future__ import annotations

import sys
import time
from _thread import stack_size
from os import _exit
from types import FunctionType

from . import channel, errors, files, hooks, logs, modules, network, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from typing import Any

__all__ = ["serve"]

_STACK_BYTES = 2 * 1024 * 1024
"""Of each thread that code starts: what is reserved for it counts as memory."""
_LONGEST_META = 1536 * 1024
"""Bytes of what is said of a result or an error: the other side takes two megabytes."""
_VARIADIC = 0x04
_RESERVE_BYTES = 1024 * 1024
"""Given back to tell that no memory is left."""
_monotonic, _process_time = time.monotonic, time.process_time
_settrace, _setprofile = sys.settrace, sys.setprofile
_send = channel.send
_describe, _send_file, _load = errors.describe, files.send, modules.load
_read, _write, _json = values.read, values.write, values.written_small
_NewFile, _logger = files.NewFile, logs.logger
_runners: list[Any] = []
_loops: list[Any] = []


class Context:
    """What code sees beside its input: `execution`, `step`, `attempt` and the rest as attributes, a `logger`, and the time."""

    def __init__(self, about: dict[str, Any], deadline: float) -> None:
        self.__dict__.update(about)
        self._deadline = deadline

    def time_left_s(self) -> float:
        """Seconds until the step is ended."""
        return max(0.0, self._deadline - _monotonic())

    def file(self, content: object, name: str = "", type: str = "") -> files.NewFile:
        """A file for the result, of bytes, text or a file to read from, with its name and content type."""
        return _NewFile(content, name, type)

    @property
    def logger(self) -> logging.Logger:
        """Of the standard library's `logging`; all of its levels are shown."""
        return _logger()

    def __getattr__(self, name: str) -> object:
        known = ", ".join(sorted((*(key for key in self.__dict__ if not key.startswith("_")), "logger")))
        raise AttributeError(f"the context has no {name!r}: it has {known}")


def _fail(kind: str, message: str, error: BaseException | None = None, *, last: bool = False) -> None:
    report: dict[str, Any] = {"kind": kind, "message": message, "last": last, "network": network.used()}
    if error is not None:
        report["error"] = _describe(error)
    said = _json(report)
    if len(said) > _LONGEST_META and error is not None:
        report["error"] = {key: value for key, value in report["error"].items() if key not in ("cause", "errors")}
        said = _json(report)
    _send(channel.ERROR, said)


def _called(main: Any, given: object, context: Context) -> object:
    """What `main` returns, with as many arguments as it takes."""
    arguments: tuple[object, ...] = (given, context)
    if isinstance(main, FunctionType) and not main.__code__.co_flags & _VARIADIC:
        arguments = arguments[: main.__code__.co_argcount]
    try:
        value = main(*arguments)
        return _awaited(value) if hasattr(type(value), "__await__") else value
    finally:
        _settrace(None)
        _setprofile(None)


def _awaited(value: Any) -> object:
    """What an `async def main` returns, from the one event loop of this process."""
    import asyncio

    if not _runners:
        factory = _made(_loops[0], "new_loop") if _loops else None
        _runners.append(asyncio.Runner(loop_factory=factory))

    async def wait() -> object:
        return await value

    return _runners[0].run(wait())


def _answer(value: object, limit: int, start_cpu: float) -> None:
    try:
        text, found = _write(value)
    except Exception as error:
        _fail("not_json", "the result cannot be written as JSON", error)
        return
    if len(text) > limit:
        message = f"the result has {len(text)} bytes; the limit is {limit} bytes: return a file instead"
        _fail("result_too_large", message)
        return
    listed = b",".join(b"[%b,%b]" % (_json(pointer), _send_file(item)) for pointer, item in found)
    if len(listed) > _LONGEST_META:
        _fail("result_too_large", f"the result has {len(found)} files: return an archive of them instead")
        return
    cpu_ms = 1000 * (_process_time() - start_cpu)
    network_used = b"true" if network.used() else b"false"
    logs.finish()
    _send(channel.RESULT, b'{"cpu_ms":%.3f,"network":%b,"files":[%b]}' % (cpu_ms, network_used, listed), text)


def _main_of(module: str) -> Any:
    """The module's `main`, or None after telling why there is none."""
    try:
        main = getattr(_load(module), "main", None)
    except MemoryError:
        raise
    except BaseException as error:
        _fail("import", "", error)
        return None
    if not callable(main):
        message = f"{module} has no function `main`: write `def main(input, context): …`"
        _fail("no_main", message)
        return None
    return main


def _run(meta: bytes, body: bytes) -> None:
    job: Any = _read(meta, ())
    deadline = _monotonic() + job["timeout_ms"] / 1000
    start_cpu = _process_time()
    logs.allow(job["log_bytes"])
    modules.enter(job["directory"])
    main = _main_of(job["module"])
    if main is None:
        return
    try:
        context = Context(job["context"], deadline)
        value = _called(main, _read(body, job["files"]), context)
        _answer(value, job["result_bytes"], start_cpu)
    except MemoryError:
        raise
    except SystemExit as left:
        logs.finish()
        _fail("crashed", f"the code called sys.exit({left.code!r}): return a value or raise instead", last=True)
        _exit(1)
    except BaseException as error:
        logs.finish()
        _fail("", "", error)


def _prepare(meta: bytes) -> None:
    """Load what the flow's code steps run, ahead of time. What fails here fails again, and is told, when a job needs it."""
    order: Any = _read(meta, ())
    logs.allow(order["log_bytes"])
    modules.enter(order["directory"])
    for module in order["modules"]:
        try:
            _load(module)
        except MemoryError:
            raise
        except BaseException:  # noqa: S110 - told later
            pass  # the job that runs this module gets the same error
    logs.finish()
    _send(channel.PREPARED, b"")


def _ordered() -> None:
    kind, meta, body = channel.receive()
    if kind == channel.PREPARE:
        _prepare(meta)
    elif kind == channel.ENTER:
        modules.enter_virtual(_read(meta, ())["directory"])  # type: ignore[index]
    elif kind == channel.RENEW:
        _send(channel.RENEWED, b"clean" if modules.renew() else b"busy")
    else:
        _run(meta, body)


_NO_MEMORY = b'{"kind":"memory","message":"","last":true,"network":true}'


def _made(code: Any, name: str) -> Any:
    """What a module of ours, which is run only now, calls that."""
    names: dict[str, Any] = {"__name__": "later"}
    exec(code, names)
    return names[name]


class _Way:
    """Sets `http.client` up, by code that is run only then."""

    def __init__(self, code: Any) -> None:
        self._code = code

    def __call__(self, client: Any) -> None:
        _made(self._code, "set_up")(client)


def serve(loops: Any = None, egress: Any = None) -> None:
    """Never returns. For a process without sockets: the code of its event loop, and of its way to the broker."""
    if loops is not None:
        _loops.append(loops)
        hooks.when_imported("http.client", _Way(egress))
    logs.install()
    stack_size(_STACK_BYTES)
    channel.hello()
    reserve = [bytes(_RESERVE_BYTES)]
    while True:
        try:
            _ordered()
        except MemoryError:
            reserve.clear()
            _send(channel.ERROR, _NO_MEMORY)
            _exit(1)
