"""Where supervisors make cgroups for jails, and what they do to a hierarchy for it: v2 as its documentation has it."""

from __future__ import annotations

from pathlib import Path

import pytest
from turnout_ecs.jail.cgroup import Allowed, Cgroups
from turnout_ecs.jail.cgroup_places import CgroupFiles, hierarchies

from plugins.ecs_backend.tests.jail.cgroup_kernel import FakeKernel

ALLOWED = Allowed(memory_bytes=400_000_000, processes=32)


@pytest.fixture
def kernel(tmp_path: Path) -> FakeKernel:
    """At a path that mountinfo does not write as it is."""
    return FakeKernel(tmp_path / "cgroup v2")


def left(kernel: FakeKernel) -> list[Path]:
    return list(kernel.at.glob("turnout-jails-*"))


def cgroup_of(pid: int, kernel: FakeKernel) -> Path:
    (found,) = (
        made for made in kernel.at.glob("turnout-jails-*/*") if made.is_dir() and str(pid) in kernel.inside(made)
    )
    return found


def bases(kernel: FakeKernel, process: Path) -> list[Path]:
    return [hierarchy.base for hierarchy in hierarchies(kernel, process)]


def test_a_containers_processes_step_aside_for_its_jails(kernel: FakeKernel) -> None:
    container = kernel.below("docker/c1", "10", "11")

    assert bases(kernel, kernel.process("/", mounted=container)) == [container]
    assert kernel.inside(container) == []
    assert kernel.inside(container / "turnout-supervisors") == ["10", "11"]
    assert (container / "cgroup.subtree_control").read_text() == "memory pids"


def test_a_service_steps_aside_where_systemd_delegates(kernel: FakeKernel) -> None:
    service = kernel.below("system.slice/turnout.service", "10")
    kernel.delegates.add(service)

    assert bases(kernel, kernel.process("/system.slice/turnout.service")) == [service]
    assert kernel.inside(service / "turnout-supervisors") == ["10"]


def test_a_service_that_was_given_nothing_is_left_as_it_is(kernel: FakeKernel) -> None:
    service = kernel.below("system.slice/turnout.service", "10")

    assert bases(kernel, kernel.process("/system.slice/turnout.service")) == []
    assert kernel.inside(service) == ["10"]
    assert not [entry for entry in service.iterdir() if entry.is_dir()]


def test_a_second_supervisor_finds_what_the_first_has_divided(kernel: FakeKernel) -> None:
    service = kernel.below("system.slice/turnout.service", "10")
    kernel.delegates.add(service)
    hierarchies(kernel, kernel.process("/system.slice/turnout.service"))

    again = kernel.process("/system.slice/turnout.service/turnout-supervisors")

    assert bases(kernel, again) == [service]


def test_the_machines_own_processes_stay_where_they_are(kernel: FakeKernel) -> None:
    (kernel.at / "cgroup.procs").write_text("1\n2\n")

    assert bases(kernel, kernel.process("/")) == [kernel.at]
    assert kernel.inside(kernel.at) == ["1", "2"]


def test_without_both_controllers_there_are_none(tmp_path: Path) -> None:
    kernel = FakeKernel(tmp_path / "cgroup", controllers="cpu memory")

    assert hierarchies(kernel, kernel.process("/")) == ()


def test_what_is_mounted_of_another_cgroup_is_not_ours(kernel: FakeKernel) -> None:
    kernel.below("docker/c1", "10")
    kernel.below("docker/c2", "20")

    assert hierarchies(kernel, kernel.process("/docker/c1", seen_from="/docker/c2")) == ()
    assert hierarchies(kernel, kernel.process("/../c1")) == ()


@pytest.mark.parametrize("cgroup", ["", "no line of cgroups", "0::/gone\n"])
def test_what_proc_does_not_tell_is_no_fault(kernel: FakeKernel, cgroup: str) -> None:
    process = kernel.process("/")
    (process / "cgroup").write_text(cgroup)

    assert hierarchies(kernel, process) == ()


def test_v1_takes_two_hierarchies(tmp_path: Path) -> None:
    for name in ("memory/docker/c1", "pids"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "cgroup").write_text("8:pids:/\n4:cpu,memory:/docker/c1\n0::/\n")
    (tmp_path / "mountinfo").write_text(
        f"35 31 0:32 / {tmp_path}/memory rw - cgroup cgroup rw,cpu,memory\n"
        f"40 31 0:37 / {tmp_path}/pids rw - cgroup cgroup rw,pids\n"
    )

    places = hierarchies(CgroupFiles(), tmp_path)

    assert [place.base for place in places] == [tmp_path / "memory/docker/c1", tmp_path / "pids"]


@pytest.mark.parametrize("counts_swap", [True, False])
async def test_a_jails_cgroup_is_bounded_before_its_process_is_in_it(tmp_path: Path, counts_swap: bool) -> None:
    kernel = FakeKernel(tmp_path / "cgroup", counts_swap=counts_swap)
    (kernel.at / "cgroup.procs").write_text("77\n")
    cgroups = Cgroups(hierarchies(kernel, kernel.process("/")), kernel)

    cgroup = cgroups.enter(77, ALLOWED)

    assert await cgroup.entered()
    made = cgroup_of(77, kernel)
    bounds = {file.name: file.read_text() for file in made.glob("*.max")}
    assert bounds == {"memory.max": "400000000", "pids.max": "32"} | ({"memory.swap.max": "0"} if counts_swap else {})
    kernel.bury("77")
    assert not cgroup.leave()
    cgroups.close()
    assert not left(kernel)


async def test_the_next_jail_with_the_same_bounds_gets_it_and_no_other(kernel: FakeKernel) -> None:
    cgroups = Cgroups(hierarchies(kernel, kernel.process("/")), kernel)
    first = cgroups.enter(77, ALLOWED)
    await first.entered()
    place = cgroup_of(77, kernel)

    meanwhile = cgroups.enter(78, ALLOWED)
    await meanwhile.entered()
    kernel.bury("77")
    first.leave()
    larger = cgroups.enter(79, Allowed(memory_bytes=500_000_000, processes=32))
    await larger.entered()
    next_one = cgroups.enter(80, ALLOWED)
    await next_one.entered()

    assert kernel.inside(place) == ["80"]
    assert len({cgroup_of(pid, kernel) for pid in (78, 79, 80)}) == 3
    for pid in (78, 79, 80):
        kernel.bury(str(pid))
    cgroups.close()


@pytest.mark.parametrize(
    ("events", "for_memory", "again"),
    [
        ("oom 1\noom_kill 1\n", True, False),
        ("oom 0\noom_kill 0\n", False, True),
        ("oom 3\noom_kill 0\n", False, False),
        ("oom 0\noom_kill 1\n", False, False),  # the machine was out of memory, not the jail
        ("nothing that is known", False, True),
    ],
)
async def test_a_death_is_for_memory_where_the_cgroups_own_bound_was_met(
    kernel: FakeKernel, events: str, for_memory: bool, again: bool
) -> None:
    cgroups = Cgroups(hierarchies(kernel, kernel.process("/")), kernel)
    cgroup = cgroups.enter(77, ALLOWED)
    await cgroup.entered()
    made = cgroup_of(77, kernel)
    (made / "memory.events").write_text(events)
    kernel.bury("77")

    assert cgroup.leave() is for_memory
    await cgroups.enter(78, ALLOWED).entered()
    assert (cgroup_of(78, kernel) == made) is again
    kernel.bury("78")
    cgroups.close()
    assert not left(kernel)


async def test_a_process_that_has_ended_is_in_none(kernel: FakeKernel, caplog: pytest.LogCaptureFixture) -> None:
    cgroups = Cgroups(hierarchies(kernel, kernel.process("/")), kernel)
    kernel.bury("77")

    cgroup = cgroups.enter(77, ALLOWED)

    assert not await cgroup.entered()
    assert not cgroup.leave()
    cgroups.close()
    assert not caplog.records
    assert not left(kernel)


async def test_a_process_that_is_reaped_while_it_enters_leaves_nothing(kernel: FakeKernel) -> None:
    cgroups = Cgroups(hierarchies(kernel, kernel.process("/")), kernel)
    with kernel.held_up():
        cgroup = cgroups.enter(77, ALLOWED)
        kernel.bury("77")
        assert not cgroup.leave()

    cgroups.close()

    assert not left(kernel)


async def test_a_refusal_of_the_kernel_is_logged_once(kernel: FakeKernel, caplog: pytest.LogCaptureFixture) -> None:
    cgroups = Cgroups(hierarchies(kernel, kernel.process("/")), kernel)
    (directory,) = kernel.at.glob("turnout-jails-*")
    (directory / "cgroup.subtree_control").write_text("")

    for _ in range(2):
        cgroup = cgroups.enter(77, ALLOWED)
        assert not await cgroup.entered()
        assert not cgroup.leave()
    cgroups.close()

    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert not left(kernel)


async def test_one_in_which_a_process_is_not_quite_dead_is_removed_later(kernel: FakeKernel) -> None:
    cgroups = Cgroups(hierarchies(kernel, kernel.process("/")), kernel)
    slow = cgroups.enter(77, ALLOWED)
    await slow.entered()
    made = cgroup_of(77, kernel)
    (made / "memory.events").write_text("oom 1\noom_kill 1\n")
    slow.leave()
    next_one = cgroups.enter(78, ALLOWED)
    await next_one.entered()

    assert kernel.inside(made) == ["77"]

    kernel.bury("77")
    kernel.bury("78")
    next_one.leave()
    cgroups.close()

    assert not left(kernel)


def test_what_a_dead_supervisor_left_is_removed_and_a_living_ones_is_not(kernel: FakeKernel) -> None:
    places = hierarchies(kernel, kernel.process("/"))
    living = Cgroups(places, kernel)
    (of_living,) = kernel.at.glob("turnout-jails-*")
    dead, dying = kernel.at / "turnout-jails-dead", kernel.at / "turnout-jails-dying"
    for cgroup in (dead, dead / "7", dying, dying / "8"):
        kernel.make(cgroup)
    (dying / "8" / "cgroup.procs").write_text("99\n")

    one = Cgroups(places, kernel)

    assert not dead.exists()
    assert (dying / "8").exists()
    assert of_living.exists()

    kernel.bury("99")
    Cgroups(places, kernel).close()

    assert not dying.exists()
    for cgroups in (one, living):
        cgroups.close()
    assert not left(kernel)


def test_where_none_can_be_made_after_all_nothing_is_left(tmp_path: Path) -> None:
    kernel = FakeKernel(tmp_path / "cgroup")
    places = hierarchies(kernel, kernel.process("/"))
    (kernel.at / "cgroup.subtree_control").write_text("memory")

    with pytest.raises(FileNotFoundError):
        Cgroups(places, kernel)

    assert not left(kernel)
