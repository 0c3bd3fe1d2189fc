"""What must hold whatever happened: each rule reads the whole history and names what breaks it.

Rules know the workloads, not the faults: there is no fault that excuses any of this.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.chaos.history import Effect, History, Record
from tests.chaos.workloads import WORKLOADS

__all__ = ["RULES", "Finding", "check"]

_FINAL = ("succeeded", "failed", "cancelled")
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that does not hold, and for whom."""

    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.what}"


def check(history: History) -> list[Finding]:
    """Everything that is wrong, at most ten findings a rule and then how many more."""
    found = []
    for rule, broken in RULES.items():
        faults = list(broken(history))
        found += [Finding(rule, fault) for fault in faults[:_SHOWN]]
        if len(faults) > _SHOWN:
            found.append(Finding(rule, f"and {len(faults) - _SHOWN} more"))
    return found


def _accepted_ends(history: History) -> Iterator[str]:
    """Every accepted execution has its end, the right one; what was accepted without an answer as well."""
    records = {record.execution: record for record in history.records}
    for sent in history.sent:
        if sent.execution not in records:
            yield f"{sent.workload} {sent.execution} was accepted and is gone"
    strangers = records.keys() - {sent.execution for sent in history.sent}
    if len(strangers) > history.unsure:
        yield f"{len(strangers)} executions that nobody was told of, and {history.unsure} webhooks without an answer"
    for record in history.records:
        wanted = "failed" if WORKLOADS[record.workload].dies else "succeeded"
        if record.status != wanted:
            yield f"{record.workload} {record.execution} is {record.status} {record.error}"


def _ends_once(history: History) -> Iterator[str]:
    ends = Counter(line.words[0] for _, line in history.lines("ended") if line.words[1] in _FINAL)
    for execution, times in ends.items():
        if times > 1:
            yield f"{execution} ended {times} times"


def _reported_stays(history: History) -> Iterator[str]:
    """A step that was reported complete is neither worked on by a process that was given its execution, nor reported by
    any other. One that lost its execution while it stood still may work on for a moment: what it must not do is write.
    It may even say only then that it began: the attempt that it names is an earlier one than the holder's."""
    reported: dict[tuple[str, str], str] = {}
    holders: dict[str, str] = {}
    attempts: Counter[str] = Counter()
    for _, line in history.lines("began", "work", "reported"):
        if line.kind == "began":
            execution, attempt = line.words[0], int(line.words[1])
            if attempt >= attempts[execution]:
                holders[execution], attempts[execution] = line.life, attempt
            continue
        step = (line.words[0], line.words[1])
        stray = line.kind == "work" and holders.get(step[0], line.life) != line.life
        if not stray and reported.get(step, line.life) != line.life:
            yield f"{' '.join(step)}: {line.kind} in {line.life} after {reported[step]} had reported it"
        elif line.kind == "reported" and line.words[2] == "succeeded":
            reported[step] = line.life


def _effects_once(history: History) -> Iterator[str]:
    """One key and one content an effect where the connector declares `native`, one content where it declares `upsert`,
    one request where it declares `none`."""
    by_effect: dict[tuple[str, str, str], list[Effect]] = defaultdict(list)
    for effect in history.effects:
        by_effect[effect.workload, effect.execution, effect.part].append(effect)
    for (workload, execution, part), effects in by_effect.items():
        contents = {effect.body for effect in effects}
        fresh = sum(effect.fresh for effect in effects)
        if len(contents) > 1 or fresh != 1:
            yield f"{workload} {execution} {part}: {fresh} times, {len(contents)} contents, of {len(effects)} requests"


def _effects_all(history: History) -> Iterator[str]:
    """Every execution that ended well did all that it is there for, in its order."""
    done: dict[str, list[str]] = defaultdict(list)
    for effect in history.effects:
        if effect.fresh:
            done[effect.execution].append(effect.part)
    for record in history.records:
        wanted = WORKLOADS[record.workload].parts
        if record.status in _FINAL and tuple(done[record.execution]) != wanted:
            yield f"{record.workload} {record.execution} did {done[record.execution]}, not {list(wanted)}"


def _doubt_parks(history: History) -> Iterator[str]:
    """Only an effect that nobody can ask about and that must not be repeated waits for a person."""
    workloads = {record.execution: record.workload for record in history.records}
    parked = {line.words[0] for _, line in history.lines("ended") if line.words[1] == "parked"}
    for execution in sorted(parked | history.decided):
        workload = workloads.get(execution, "")
        if workload and (WORKLOADS[workload].keyed or WORKLOADS[workload].dies):
            yield f"{workload} {execution} was parked"


def _order_kept(history: History) -> Iterator[str]:
    """Executions with one order do their effects one execution after another, as they were accepted."""
    lines: dict[tuple[str, str], list[str]] = defaultdict(list)
    for sent in history.sent:
        if WORKLOADS[sent.workload].ordered:
            lines[sent.tenant, sent.order].append(sent.execution)
    begun: dict[str, list[str]] = defaultdict(list)
    for effect in history.effects:
        if effect.fresh:
            begun[effect.execution].append(effect.part)
    firsts = [effect for effect in history.effects if effect.fresh]
    for (tenant, order), executions in lines.items():
        known = set(executions)
        happened = [(effect.execution, effect.part) for effect in firsts if effect.execution in known]
        wanted = [(execution, part) for execution in executions for part in WORKLOADS["fifo"].parts]
        if happened != wanted:
            yield f"{tenant} {order}: {happened[:6]}… and not {wanted[:6]}…"


def _turns_taken(history: History) -> Iterator[str]:
    """Between an execution's acceptance and its beginning other tenants have begun at most as many as take turns with it:
    one each for every one of its own tenant that waited before it, and as many as run at once, twice (what runs, and
    what had been taken)."""
    first: dict[str, int] = {}
    for place, line in history.lines("began"):
        first.setdefault(line.words[0], place)
    tenants = {sent.execution: sent.tenant for sent in history.sent}
    starts = sorted((place, tenants[execution]) for execution, place in first.items() if execution in tenants)
    others = len(set(tenants.values())) - 1
    for sent in history.sent:
        begun = first.get(sent.execution)
        if begun is None or sent.order:
            continue
        own = sum(sent.place <= place < begun for place, tenant in starts if tenant == sent.tenant)
        passed = sum(sent.place <= place < begun for place, tenant in starts if tenant != sent.tenant)
        bound = (own + 1) * others + 2 * history.slots
        if passed > bound:
            yield f"{sent.tenant} {sent.execution} let {passed} of others pass, {own} of its own; {bound} is the bound"


def _dead_are_poison(history: History) -> Iterator[str]:
    """Dead letters are those that killed their workers, after all their attempts, with what they had done kept."""
    records = {record.execution: record for record in history.records}
    for execution, attempts in history.dead.items():
        record = records.get(execution)
        if record is None or not WORKLOADS[record.workload].dies:
            yield f"{record.workload if record else '?'} {execution} died after {attempts} attempts"
        elif attempts < history.attempts:
            yield f"{execution} died after {attempts} attempts of {history.attempts}"
        else:
            yield from _cursor_lost(record, history)
    for record in history.records:
        if WORKLOADS[record.workload].dies and record.execution not in history.dead:
            yield f"{record.workload} {record.execution} is not among the dead"


def _cursor_lost(record: Record, history: History) -> Iterator[str]:
    if record.steps.get("before") != "succeeded" or not record.error.startswith("dead_letter"):
        yield f"{record.execution} lost its cursor: {dict(record.steps)} {record.error}"
    claims = sum(line.words[0] == record.execution for _, line in history.lines("began"))
    if claims > history.attempts:
        yield f"{record.execution} was begun {claims} times, with {history.attempts} attempts"


def _counted_once(history: History) -> Iterator[str]:
    """The counter that the orders workload keeps has given each of its numbers to one execution."""
    instances = {record.execution: record.instance for record in history.records}
    numbers: dict[str, list[int]] = defaultdict(list)
    for effect in history.effects:
        if effect.workload == "orders" and effect.fresh:
            numbers[instances.get(effect.execution, "?")].append(effect.data["batch"])
    for instance, given in numbers.items():
        if sorted(given) != list(range(1, len(given) + 1)):
            twice = [number for number, times in Counter(given).items() if times > 1]
            yield f"{instance} counted {len(given)} executions up to {max(given)}, twice {twice[:5]}"


def _nothing_left(history: History) -> Iterator[str]:
    """Nothing of what ended is left in queue, journal and payload store, and no process outlived its worker."""
    for what, left in history.leftovers.items():
        if left:
            yield f"{what}: {left if not isinstance(left, list) else (len(left), left[:3])}"


def _nobody_fails(history: History) -> Iterator[str]:
    """No process ended by itself with an error."""
    yield from history.exits


RULES: dict[str, Callable[[History], Iterator[str]]] = {
    "every accepted execution ends": _accepted_ends,
    "it ends once": _ends_once,
    "what was reported is not done again": _reported_stays,
    "no effect happens twice": _effects_once,
    "every effect happens, in order": _effects_all,
    "only doubt parks": _doubt_parks,
    "FIFO keys keep their order": _order_kept,
    "tenants take turns": _turns_taken,
    "only poison dies": _dead_are_poison,
    "counters count once": _counted_once,
    "nothing is left": _nothing_left,
    "no process fails": _nobody_fails,
}
