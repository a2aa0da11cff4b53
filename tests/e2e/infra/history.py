"""Owns the judgement of a recorded concurrent history against the ledger it left: invariants I1 to I7; pure.

`check` is called with what the clients saw and what the database holds at the end. Two ways of judging stand side by
side. From the clients' view alone, by intervals of time: what was acknowledged is surely live until somebody begins to
end it (I2, I3, I7). And by the order the ledger claims, its versions (I4, I5, I6; see `history_order`). Which request
made a change is told by the trace id both carry. Holds must outlast the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from tests.e2e.infra.history_order import Order
from tests.e2e.infra.history_records import (
    ENDING,
    EVENTS,
    NEVER,
    PLACING,
    ActiveRange,
    Change,
    Findings,
    Ledger,
    Nights,
    Operation,
    Violation,
    grouped,
    overlap,
    shown,
)

CHECKED = ("I1", "I2", "I3", "I4", "I5", "I6", "I7")


@dataclass(frozen=True)
class Setting:
    """An acknowledged operation that gave a record its nights; a placing one counts from its key's first request."""

    nights: Nights
    began: float
    answered: float


@dataclass
class Life:
    """What the clients know of one record: who gave it nights, and what may have changed or ended it."""

    property_id: str
    placed: Setting
    touching: list[Operation] = field(default_factory=list)

    def settings(self) -> list[Setting]:
        """The acknowledged nights, the first ones included."""
        modified = [
            Setting(touch.nights, touch.began, touch.answered)
            for touch in self.touching
            if touch.nights is not None and touch.is_acknowledged
        ]
        return [self.placed, *modified]

    def surely_live(self) -> list[tuple[float, float, Nights]]:
        """Nights that were the record's from one instant until another, whatever happened unseen."""
        intervals = []
        for setting in self.settings():
            after = [
                touch.began
                for touch in self.touching
                if touch.ends > setting.began and (touch.began, touch.ends) != (setting.began, setting.answered)
            ]
            until = min(after, default=NEVER)
            if until > setting.answered:
                intervals.append((setting.answered, until, setting.nights))
        return intervals

    def may_end_as(self) -> set[Nights | None]:
        """What it may hold at last, None for nothing."""
        endings = [touch for touch in self.touching if touch.action in ENDING]
        if any(ending.is_acknowledged for ending in endings):
            return {None}
        possible: set[Nights | None] = {None} if endings else set()
        acknowledged = self.settings()
        unknown = [
            Setting(touch.nights, touch.began, NEVER)
            for touch in self.touching
            if touch.nights is not None and touch.is_unknown
        ]
        for setting in (*acknowledged, *unknown):
            if not any(later.began > setting.answered for later in acknowledged):
                possible.add(setting.nights)
        return possible


def check(operations: Sequence[Operation], ledger: Ledger) -> list[Violation]:
    """Every violation of I1 to I7; none for a history that is legal."""
    found = Findings()
    effects = grouped(operations)
    lives = _lives(effects.values(), found)
    _check_exclusive(ledger.ranges, found)
    _check_exclusive_in_time(lives, found)
    _check_nothing_lost(lives, ledger, found)
    _check_no_phantom(operations, ledger, found)
    _check_once_per_key(effects, ledger.changes, found)
    _check_order(operations, effects, ledger, found)
    return found.violations


def _lives(effects: Iterable[Sequence[Operation]], found: Findings) -> dict[str, Life]:
    """The records the clients were told of, by id."""
    lives: dict[str, Life] = {}
    touching = []
    for attempts in effects:
        if attempts[0].action not in PLACING:
            touching += [attempt for attempt in attempts if not attempt.is_refused]
            continue
        told = [attempt for attempt in attempts if attempt.is_acknowledged]
        if told and attempts[0].nights is not None:
            first = min(told, key=lambda attempt: attempt.answered)
            placed = Setting(attempts[0].nights, attempts[0].began, first.answered)
            lives[str(first.body["id"])] = Life(attempts[0].property_id, placed)
    for touch in touching:
        if touch.record_id in lives:
            lives[touch.record_id].touching.append(touch)
        else:
            found.add("I4", f"a record nobody was told of: {touch}")
    return lives


def _check_exclusive(ranges: Sequence[ActiveRange], found: Findings) -> None:
    for one, other in combinations(sorted(ranges, key=lambda known: (known.property_id, known.nights)), 2):
        if one.property_id == other.property_id and overlap(one.nights, other.nights):
            found.add("I1", f"two active ranges overlap: {one} and {other}")


def _check_exclusive_in_time(lives: Mapping[str, Life], found: Findings) -> None:
    by_property: dict[str, list[tuple[float, float, Nights, str]]] = {}
    for record_id, life in lives.items():
        intervals = by_property.setdefault(life.property_id, [])
        intervals += [(*interval, record_id) for interval in life.surely_live()]
    for intervals in by_property.values():
        present: list[tuple[float, float, Nights, str]] = []
        for since, until, nights, record_id in sorted(intervals):
            present = [known for known in present if known[1] > since]
            for _, _, others, other_id in present:
                if other_id != record_id and overlap(nights, others):
                    text = f"{record_id} ({shown(nights)}) and {other_id} ({shown(others)}) were both live at {since}"
                    found.add("I2", text)
            present.append((since, until, nights, record_id))


def _check_nothing_lost(lives: Mapping[str, Life], ledger: Ledger, found: Findings) -> None:
    held = {stored.record_id: stored.nights for stored in ledger.ranges}
    changed = {change.trace_id for change in ledger.changes}
    for record_id, life in lives.items():
        if record_id not in ledger.records:
            found.add("I3", f"{record_id} was acknowledged and is not stored")
        possible = life.may_end_as()
        if held.get(record_id) not in possible:
            wanted = " or ".join("nothing" if nights is None else shown(nights) for nights in possible)
            found.add("I3", f"{record_id} was acknowledged as {wanted} and holds {held.get(record_id)}")
        over = [touch for touch in life.touching if touch.action in ENDING and touch.is_acknowledged]
        endings = [touch for touch in life.touching if touch.action in ENDING]
        if over and not any(ending.trace_id in changed for ending in endings):
            found.add("I3", f"the end of {record_id} was acknowledged and no change tells of it: {over[0]}")


def _check_no_phantom(operations: Sequence[Operation], ledger: Ledger, found: Findings) -> None:
    asked = {operation.trace_id: operation for operation in operations}
    placed = set()
    for change in ledger.changes:
        maker = asked.get(change.trace_id)
        if maker is None:
            found.add("I4", f"nobody asked for {change}")
            continue
        if maker.action in PLACING:
            placed.add(change.record_id)
        wanted = () if maker.nights is None else (maker.nights,)
        is_fitting = (
            (change.property_id, change.type, change.occupied) == (maker.property_id, EVENTS[maker.action], wanted)
            and maker.record_id in ("", change.record_id)
            and not maker.is_refused
        )
        if not is_fitting:
            found.add("I4", f"{change} is not what was asked for: {maker}")
    for record_id in sorted(ledger.records - placed):
        found.add("I4", f"nobody placed {record_id}, which is stored")
    for stored in ledger.ranges:
        if stored.record_id not in ledger.records:
            found.add("I4", f"{stored} belongs to no record")


def _check_once_per_key(effects: Mapping[str, Sequence[Operation]], changes: Sequence[Change], found: Findings) -> None:
    made: dict[str, list[Change]] = {}
    for change in changes:
        made.setdefault(change.trace_id, []).append(change)
    for effect, attempts in effects.items():
        own = [change for attempt in attempts for change in made.get(attempt.trace_id, [])]
        if len(own) > 1:
            found.add("I7", f"{len(own)} effects for one key or request: {own}")
        told = [attempt for attempt in attempts if attempt.is_acknowledged]
        if len({(answer.status, answer.content) for answer in told}) > 1:
            found.add("I7", f"key {effect} was answered differently: {[answer.content for answer in told]}")
        since = min((answer.answered for answer in told), default=NEVER)
        for attempt in attempts:
            if attempt.is_refused and attempt.began > since:
                found.add("I7", f"acknowledged before and refused now: {attempt}")
        if told and attempts[0].action in PLACING:
            _check_placed(told[0], own, found)


def _check_placed(answer: Operation, own: Sequence[Change], found: Findings) -> None:
    """An acknowledged placing has its change, which the answer tells truly."""
    if not own:
        found.add("I3", f"acknowledged, and no change tells of it: {answer}")
    elif str(answer.body["id"]) != own[0].record_id:
        found.add("I7", f"acknowledged {answer.body['id']}, and the effect is {own[0].record_id}: {answer}")
    elif answer.body["inventory_version"] != own[0].version:
        found.add("I6", f"acknowledged as version {answer.body['inventory_version']}: {own[0]}")


def _check_order(
    operations: Sequence[Operation],
    effects: Mapping[str, Sequence[Operation]],
    ledger: Ledger,
    found: Findings,
) -> None:
    asked = {operation.trace_id: operation for operation in operations}
    made = {change.trace_id: change for change in ledger.changes}
    known_by = {
        effect: min((attempt.answered for attempt in attempts if attempt.is_acknowledged), default=NEVER)
        for effect, attempts in effects.items()
    }
    held: dict[str, dict[str, Nights]] = {}
    for stored in ledger.ranges:
        held.setdefault(stored.property_id, {})[stored.record_id] = stored.nights
    for property_id in {operation.property_id for operation in operations} | {one.property_id for one in made.values()}:
        changes = [change for change in ledger.changes if change.property_id == property_id]
        order = Order(sorted(changes, key=lambda change: change.version), asked, known_by, found)
        for record_id, nights in {key: live.nights for key, live in order.live[-1].items()}.items():
            if held.get(property_id, {}).get(record_id) != nights:
                found.add("I3", f"{record_id} holds {shown(nights)} by its changes, but not in the ledger")
        for record_id in held.get(property_id, {}).keys() - order.live[-1].keys():
            found.add("I4", f"{record_id} holds nights in the ledger, but not by its changes")
        own = [operation for operation in operations if operation.property_id == property_id]
        order.place([answer for answer in own if _is_answer_without_effect(answer, made, found)])


def _is_answer_without_effect(answer: Operation, made: Mapping[str, Change], found: Findings) -> bool:
    """Whether it only tells of a state; the version of one with an effect of its own is compared here."""
    if answer.is_refused:
        return answer.trace_id not in made
    if not answer.is_acknowledged or answer.action in PLACING:
        return False
    change = made.get(answer.trace_id)
    if change is not None and answer.body["inventory_version"] != change.version:
        found.add("I6", f"acknowledged as version {answer.body['inventory_version']}: {change}")
    return change is None
