"""Ways to the network, to this machine's own services and to the metadata that hand out credentials."""

from __future__ import annotations

from plugins.ecs_backend.tests.attacks.attack import Attack, Control

_OPEN = ("seccomp", "seal")

ATTACKS = (
    Attack(
        name="connect to a service on loopback by Node's TCP binding",
        group="network and metadata",
        stopped_by="seccomp",
        code="return kit.tcp('127.0.0.1', input.port)",
        held="refused EPERM",
        control=Control(off=_OPEN, got="got connected"),
    ),
    Attack(
        name="connect to the metadata service",
        group="network and metadata",
        stopped_by="seccomp",
        code="return kit.tcp(...input.metadata)",
        held="refused EPERM",
        control=Control(off=_OPEN, got="got connected"),
    ),
    Attack(
        name="connect to a unix socket in the file system",
        group="network and metadata",
        stopped_by="seccomp, chroot",
        code="return kit.pipe(input.socket)",
        held="refused (EPERM|EACCES)",
        control=Control(off=("chroot", *_OPEN), got="got connected"),
    ),
    Attack(
        name="connect to an abstract unix socket",
        group="network and metadata",
        stopped_by="seccomp",
        code="return kit.pipe('\\0' + input.abstract)",
        held="refused EPERM",
        control=Control(off=_OPEN, got="got connected"),
    ),
)
