"""Where attacks are made: one sandbox with a victim in it, and jails with layers off for the controls."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self

from turnout.interfaces.sandbox import NO_EGRESS, CodeBundle, Credential, Egress, Job, Limits, SandboxHandle, Success
from turnout.model.execution import LogLine
from turnout.model.payload import Encoded
from turnout.sandbox.launch import Launch
from turnout.sandbox.lifeline import Lifeline
from turnout.sandbox.process import NodeProcess
from turnout.testing.sandbox import MemoryFiles, bundle_of, job
from turnout_ecs.egress.limits import EgressLimits
from turnout_ecs.jail.checking import faults
from turnout_ecs.jail.launch import JailLaunch, Setting
from turnout_ecs.jail.launcher import seal_binary
from turnout_ecs.jail.options import ChrootOptions
from turnout_ecs.jail.sandbox import ChrootSandbox
from turnout_ecs.jail.tree import find
from turnout_ecs.jail.uids import BLOCK, UidRange, users_alive
from turnout_ecs.jail.way import Doors

from plugins.ecs_backend.tests.attacks.attack import KIT, MODULE, THEN, Attack, Control, evidence
from plugins.ecs_backend.tests.attacks.origin import PLACEHOLDER, Origins
from plugins.ecs_backend.tests.attacks.origin import SECRET as THEIRS

__all__ = ["Arena"]

HERE: Final = Path(__file__).parent
SECRET: Final = "the victim's own"
_VICTIM: Final = """
let calls = 0
export default ({ secret }) => {
  globalThis.kept ??= secret
  return { kept: globalThis.kept, calls: ++calls, odd: Object.keys(Object.prototype) }
}"""
_FIRST_UID: Final = 10_000_000 + os.getpid() % 4096 * 8 * BLOCK
_UIDS: Final = f"{_FIRST_UID}-{_FIRST_UID + 8 * BLOCK - 1}"
"""Of this run alone: when a sandbox is closed, another run may have its users at once, and an attack's would seem to be left."""
_OPENABLE: Final = ("127.0.0.2/32", "127.0.0.3/32", "127.0.0.4/32")
_OPEN: Final = EgressLimits(openable=("0.0.0.0/0", "::/0"), streams=100_000, header_bytes=1 << 24, headers=100_000)
_OTHERS: Final = 2
"""Processes that are acquired beside one, so that the process of the execution before is among them if it lives."""
_JAIL_LAYERS: Final = frozenset({"chroot", "uid", "caps", "rlimits", "no_new_privs", "seccomp"})


class Arena:
    """Made once for many attacks. After each of them `unharmed` says what it harmed."""

    def __init__(self, directory: Path, jail: Path) -> None:
        self._directory = directory
        self._jail = find(jail)
        self._numbers = itertools.count(1)
        self._exits = contextlib.AsyncExitStack()
        self._kit = (HERE / KIT).read_text()
        self._lifeline = Lifeline()
        self._uids = UidRange.parse(_UIDS)
        self._options = ChrootOptions(jail=jail, uids=_UIDS, warm_floor=1, warm_ceiling=2, openable=_OPENABLE)
        self._origins = Origins()
        self.sandbox = ChrootSandbox(self._options)
        self._victim: SandboxHandle | None = None
        self._calls = 0
        self._renewing: ChrootSandbox | None = None
        self._files = MemoryFiles()
        self._doc = self._files.add(bytes(range(256)) * 1000, "doc")
        self._used: set[int] = set()
        self._kept: set[int] = set()
        self._port = 0

    async def __aenter__(self) -> Self:
        await self.sandbox.start()
        self._exits.push_async_callback(self.sandbox.close)
        self._listen()
        await self._origins.start()
        self._exits.push_async_callback(self._origins.close)
        self._directory.chmod(0o755)
        (self._directory / "secret").write_text("a secret of the machine")
        (self._directory / "secret").chmod(0o666)
        (self._directory / "module.cjs").write_text("module.exports = 'a module of the machine'")
        above = self._directory / "node_modules" / "above"
        above.mkdir(parents=True)
        (above / "index.js").write_text("module.exports = 'a package of the machine'")
        (self._directory / "drop").mkdir()
        (self._directory / "drop").chmod(0o777)
        await self._place_victim()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._exits.aclose()
        self._lifeline.close()
        self._uids.close()
        assert not (left := _left(self._used | self._kept)), f"processes of the range are left: {left}"

    async def attacked(self, attack: Attack) -> str:
        """The evidence of the attack where everything is on."""
        if attack.warm:
            return await self._attacked_warm(attack)
        sandbox = await self._reusing() if attack.reuse else self.sandbox
        world = self.world(self._victim_pid)
        bundle = self._bundle(attack)
        found = await self._execution(sandbox, attack, "mallory", bundle, MODULE, world)
        if not attack.then:
            return found
        for pool in sandbox._pools.values():
            await asyncio.gather(*pool._renewals)
        return await self._execution(sandbox, attack, attack.next_tenant, bundle, THEN, world)

    async def _attacked_warm(self, attack: Attack) -> str:
        """The same in a pool of its own, where nothing but what was made ready for the attacker waits."""
        sandbox = ChrootSandbox(self._options.model_copy(update={"warm_floor": 0}))
        world, bundle = self.world(self._victim_pid), self._bundle(attack)
        try:
            await sandbox.start()
            await self._execution(sandbox, attack, "mallory", bundle, MODULE, world)
            for pool in sandbox._pools.values():
                await pool.settle()
            stats = sandbox.stats()
            assert stats is not None
            assert stats.idle == 1, "nothing was made ready"
            return await self._execution(sandbox, attack, attack.next_tenant, bundle, THEN, world)
        finally:
            await sandbox.close()

    async def uncontrolled(self, attack: Attack) -> str:
        """The evidence of the same code without what stops it."""
        control = attack.control
        limits = _limits(control.memory_mb, control)
        inside = self._jail.root if "chroot" in control.off else None
        bundle = self._bundle(attack)
        process = await self._start(limits, control)
        target = self._start_target(process.launch.uid if control.same_user else None)
        world = self.world(target.pid, control=True, jail=inside)
        try:
            found = await self._converse(process, control, bundle, MODULE, world)
            if not attack.then:
                return found
            if not control.same_process:
                await self._end(process)
                process = await self._start(limits, control)
            return await self._converse(process, control, bundle, THEN, world)
        finally:
            target.kill()
            target.wait()
            await self._end(process)

    async def unharmed(self) -> None:
        """That nobody else was harmed: the victim is as it was, the supervisor serves others, no process of the attack's
        users is left, the jail is what it was."""
        assert self._victim is not None
        said = await self._victim.run(job("victim.mjs", {"secret": "not kept any more"}))
        self._calls += 1
        assert isinstance(said, Success), f"the victim: {said}"
        wanted = f'{{"kept":"{SECRET}","calls":{self._calls},"odd":[]}}'
        assert said.output.json.decode() == wanted, "the victim is not what it was"
        assert not (left := _left(self._used)), f"a process of the attack is left: {left}"
        assert not list(faults(self._jail.root, self._jail.manifest, contents=False)), "the jail was changed"

    def world(self, victim: int, *, control: bool = False, jail: Path | None = None) -> dict[str, Any]:
        """What the attack is told, that it need not find out: where what it wants is. In a control a listener of ours stands
        for the metadata service, and a process that does nothing for the victim."""
        return {
            "supervisor": os.getpid(),
            "victim": victim,
            "port": self._port,
            "metadata": self._origins.at["closed"] if control else ["169.254.169.254", 80],
            "socket": str(self._directory / "socket"),
            "abstract": self._abstract,
            "secret": str(self._directory / "secret"),
            "addon": str(seal_binary("node")),
            "drop": str(self._directory / "drop"),
            "placeholder": PLACEHOLDER,
            **self._origins.at,
            "jail": "" if jail is None else str(jail),
        }

    @property
    def _abstract(self) -> str:
        return f"turnout-attacks-{os.getpid()}"

    def _listen(self) -> None:
        tcp = socket.create_server(("127.0.0.1", 0))
        self._port = tcp.getsockname()[1]
        path = self._directory / "socket"
        named, abstract = (socket.socket(socket.AF_UNIX) for _ in range(2))
        named.bind(str(path))
        path.chmod(0o777)
        abstract.bind(f"\0{self._abstract}")
        for listener in (tcp, named, abstract):
            listener.listen()
            self._exits.callback(listener.close)

    async def _place_victim(self) -> None:
        bundle = bundle_of(self._directory / "victim", {"victim.mjs": _VICTIM})
        self._victim = await self.sandbox.acquire("victim", bundle, Limits())
        self._exits.push_async_callback(self._victim.release)
        first = await self._victim.run(job("victim.mjs", {"secret": SECRET}))
        self._calls = 1
        assert isinstance(first, Success), first

    @property
    def _victim_pid(self) -> int:
        assert self._victim is not None
        uid = self._victim.receipt().uid
        return next(int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _uid_of(entry) == uid)

    def _start_target(self, user: int | None) -> subprocess.Popen[bytes]:
        """A process that a control may kill."""
        return subprocess.Popen(["/bin/sleep", "60"], start_new_session=True, user=user, group=user, cwd="/")

    async def _execution(
        self,
        sandbox: ChrootSandbox,
        attack: Attack,
        tenant: str,
        bundle: CodeBundle,
        module: str,
        world: dict[str, Any],
    ) -> str:
        limits = _limits(attack.memory_mb, Control(got=""))
        lines: list[LogLine] = []
        handles = [await sandbox.acquire(tenant, bundle, limits)]
        if attack.reuse and module == THEN:
            handles += [await sandbox.acquire(tenant, bundle, limits) for _ in range(_OTHERS)]
        handle = next((one for one in handles if one.receipt().uid in self._kept), handles[0])
        try:
            asked = self._job(module, world, attack.timeout_s, lines, self._egress(everything=False))
            return evidence(await handle.run(asked), lines)
        finally:
            (self._kept if attack.reuse else self._used).add(handle.receipt().uid)
            for one in handles:
                await one.release()

    async def _reusing(self) -> ChrootSandbox:
        """A sandbox that renews its processes, made when the first attack on that comes."""
        if self._renewing is None:
            options = self._options.model_copy(update={"reuse": "tenant", "uses": 10, "warm_ceiling": 16})
            self._renewing = ChrootSandbox(options)
            self._exits.push_async_callback(self._renewing.close)
            await self._renewing.start()
        return self._renewing

    def _bundle(self, attack: Attack) -> CodeBundle:
        directory = self._directory / f"bundle-{next(self._numbers)}"
        for place, content in {KIT: self._kit, **attack.files}.items():
            (directory / place).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                (directory / place).write_text(content)
            else:
                shutil.copyfile(content, directory / place)
        for place, target in attack.links.items():
            (directory / place).parent.mkdir(parents=True, exist_ok=True)
            (directory / place).symlink_to(target.replace("$ARENA", str(self._directory)))
        return replace(bundle_of(directory, attack.modules), hash=str(directory))

    def _egress(self, *, everything: bool) -> Egress:
        """What the job may reach: two of the servers, one by its name too, and a credential for one of them."""
        listed = self._origins.listing(*(self._origins.at if everything else ("listed", "owner", "closed")))
        closed = self._origins.at["closed"][1]
        owners = listed if everything else self._origins.listing("owner")
        credential = Credential(placeholder=PLACEHOLDER, secret=THEIRS, hosts=owners)
        return Egress(hosts=(*listed, f"localhost:{closed}"), credentials=(credential,))

    def _job(
        self, module: str, world: dict[str, Any], timeout_s: float, lines: list[LogLine], egress: Egress = NO_EGRESS
    ) -> Job:
        given = Encoded(json=json.dumps(world | {"doc": None}).encode(), files=(("/doc", self._doc),))
        return job(module, input=given, files=self._files.access, timeout_s=timeout_s, log=lines.append, egress=egress)

    def _less(self, control: Control) -> Setting:
        off = {name: False for name in control.off if name != "seal"}
        assert off.keys() <= _JAIL_LAYERS
        setting = self.sandbox.setting(self._jail)
        if control.open_broker:
            setting = replace(setting, doors=Doors(_OPEN, setting.doors.tls))
        if "rlimits" in control.off:
            setting = replace(setting, cgroups=None)  # which bounds the same, where it is to be had
        return replace(
            setting, layers=replace(setting.layers, **off), sealed="seal" not in control.off and setting.sealed
        )

    async def _start(self, limits: Limits, control: Control) -> NodeProcess:
        launch: Launch
        if control.launch:
            launch = control.launch(self._directory)
        else:
            launch = JailLaunch(self._less(control), self._uids.take(), self._give_back)
        process = await NodeProcess.start(limits, self._lifeline, launch, control.source())
        control.adjust(process)
        return process

    async def _end(self, process: NodeProcess) -> None:
        vars(process.launch).pop("kill", None)
        await process.end()

    def _give_back(self, uid: int) -> None:
        self._uids.give_back(uid, certain=False)

    async def _converse(
        self, process: NodeProcess, control: Control, bundle: CodeBundle, module: str, world: dict[str, Any]
    ) -> str:
        lines: list[LogLine] = []
        asked = self._job(module, world, control.timeout_s, lines)
        if isinstance(process.launch, JailLaunch):
            process.launch.way.enter(self._egress(everything=control.open_broker))
        running = asyncio.ensure_future(control.conversation(process, bundle, asked, mapped=False).run())
        done, _ = await asyncio.wait([running], timeout=control.wait_s)
        if not done:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            return "still running"
        if (error := running.exception()) is not None:
            return f"the supervisor failed: {type(error).__name__}"
        return evidence(running.result(), lines)


def _limits(memory_mb: int, control: Control) -> Limits:
    return Limits(
        memory_bytes=memory_mb << 20,
        result_bytes=control.result_bytes,
        files=control.files,
        files_bytes=control.files_bytes,
        log_bytes=control.log_bytes,
    )


def _left(uids: set[int]) -> list[str]:
    """What is known of processes that have these users."""
    if not users_alive(uids):
        return []
    found = [entry for entry in Path("/proc").glob("[0-9]*") if _uid_of(entry) in uids]
    return ["; ".join(_status(entry).splitlines()[:9]) for entry in found] or ["gone by now"]


def _status(process: Path) -> str:
    try:
        return (process / "status").read_text()
    except OSError:
        return ""


def _uid_of(process: Path) -> int:
    found = re.search(r"^Uid:\t(\d+)", _status(process), re.MULTILINE)
    return int(found[1]) if found else -1
