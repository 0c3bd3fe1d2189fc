"""The attacks as data: enough of them, of every kind, each with a control that is another case."""

from __future__ import annotations

from collections import Counter

from plugins.ecs_backend.tests.attacks.attack import GROUPS, Attack, Control
from plugins.ecs_backend.tests.attacks.catalogue import ATTACKS

_ENOUGH = 80
_OF_EACH_GROUP = 5


def test_there_are_enough_attacks_of_every_group() -> None:
    counted = Counter(attack.group for attack in ATTACKS)

    assert len(ATTACKS) >= _ENOUGH
    assert set(counted) == set(GROUPS)
    assert min(counted.values()) >= _OF_EACH_GROUP


def test_no_two_attacks_have_one_name() -> None:
    assert len({(attack.group, attack.name) for attack in ATTACKS}) == len(ATTACKS)


def test_each_attack_has_a_control_in_which_something_is_off() -> None:
    assert [attack.name for attack in ATTACKS if not _loosens(attack)] == []


def test_each_attack_expects_something_else_of_its_control() -> None:
    assert [attack.name for attack in ATTACKS if attack.held == attack.control.got] == []


def _loosens(attack: Attack) -> bool:
    """Something of the control is not as it is in the sandbox: a layer, a part, a limit, or the time that is given."""
    control, usual = attack.control, Control(got="")
    layers = bool(control.off) or control.same_process or control.same_user or control.open_broker
    parts = any(
        getattr(control, part) is not getattr(usual, part) for part in ("launch", "conversation", "source", "adjust")
    )
    sizes = ("result_bytes", "log_bytes", "files", "files_bytes")
    limits = control.memory_mb > attack.memory_mb or any(
        getattr(control, size) > getattr(usual, size) for size in sizes
    )
    time = control.got == "still running" and control.timeout_s > attack.timeout_s
    return layers or parts or limits or time
