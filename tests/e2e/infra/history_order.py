"""Owns the order of one property's history: replays its versions and places every answer between two; for the checker.

The ledger gives each change of a property the next version, so the search for a linearization is over before it begins:
the versions are the order of the effects. What is left is linear. The order must respect real time, each effect must be
legal where it stands, and each answer that reports no effect of its own (a refusal, a repeated cancellation) must fit a
state that existed during its request, all of them together without going back in time. A history that passes is
linearizable to one set of disjoint intervals per property; one that fails is not, in the order the ledger claims.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from tests.e2e.infra.history_records import NEVER, Change, Findings, Nights, Operation, overlap, shown

ILLEGAL_TRANSITION = "illegal_transition"
INVENTORY_OVERLAP = "inventory_overlap"


@dataclass(frozen=True)
class Live:
    """What a record holds: its kind as a refusal names it, and its nights."""

    kind: str
    nights: Nights


@dataclass(frozen=True)
class Step:
    """A record after one of its changes: nights are None once it is over."""

    position: int
    version: int
    nights: Nights | None


class Order:
    """The states of one property; position p is the state after p changes."""

    def __init__(
        self,
        changes: Sequence[Change],
        made_by: Mapping[str, Operation],
        known_by: Mapping[str, float],
        found: Findings,
    ) -> None:
        """`changes` by version, `made_by` trace id, `known_by` the first acknowledgement of an effect."""
        self._changes = changes
        self._found = found
        self.live: list[dict[str, Live]] = [{}]
        self.steps: dict[str, list[Step]] = {}
        makers = [made_by.get(change.trace_id) for change in changes]
        self._record_of = {
            maker.effect: change.record_id for maker, change in zip(makers, changes, strict=True) if maker is not None
        }
        self._began = [-NEVER if maker is None else maker.began for maker in makers]
        self._ends = [
            NEVER if maker is None else min(maker.ends, known_by.get(maker.effect, NEVER)) for maker in makers
        ]
        # When a change was made at the earliest and the latest, by itself and by its place among the others.
        self._earliest = [-NEVER, *accumulate(self._began, max)]
        self._latest = [*reversed([*accumulate(reversed(self._ends), min)]), NEVER]
        self._require_consecutive_versions()
        self._require_real_time()
        for position, change in enumerate(changes, 1):
            self._replay(position, change)

    def place(self, answers: Sequence[Operation]) -> None:
        """Find every answer without an effect of its own a state it fits, in an order real time allows."""
        by_end = sorted(answers, key=lambda answer: answer.answered)
        placed: dict[str, int] = {}
        floor = ended = 0
        for answer in sorted(answers, key=lambda known: known.began):
            while by_end[ended].answered < answer.began:
                floor = max(floor, placed.get(by_end[ended].trace_id, 0))
                ended += 1
            fitting = [position for position in self._during(answer) if self._fits(answer, position)]
            if not fitting:
                invariant = "I5" if answer.is_refused else "I6"
                self._found.add(invariant, f"no state during the request fits its answer: {answer} {answer.body}")
                continue
            later = [position for position in fitting if position >= floor]
            if not later:
                self._found.add("I6", f"fits only a state older than one an earlier answer has shown: {answer}")
                continue
            placed[answer.trace_id] = later[0]

    def _require_consecutive_versions(self) -> None:
        versions = [change.version for change in self._changes]
        # Version 1 is the creation of the property.
        if versions != list(range(2, len(versions) + 2)):
            property_id = self._changes[0].property_id
            self._found.add("I6", f"the versions of {property_id} are no order: {versions}")

    def _require_real_time(self) -> None:
        for position, change in enumerate(self._changes):
            if self._earliest[position] > self._ends[position]:
                text = f"{change} was acknowledged before a change with a lower version was asked for"
                self._found.add("I6", text)

    def _replay(self, position: int, change: Change) -> None:
        """Apply a change to the set of disjoint intervals; what is no legal step is noted, and made all the same."""
        state = dict(self.live[-1])
        held = state.pop(change.record_id, None)
        if change.released != (() if held is None else (held.nights,)):
            self._found.add("I6", f"{change} gives back what its record does not hold: {held}")
        for nights in change.occupied:
            for record_id, other in state.items():
                if overlap(other.nights, nights):
                    self._found.add("I6", f"{change} takes nights that {record_id} holds: {shown(other.nights)}")
            state[change.record_id] = Live(change.kind, nights)
        self.live.append(state)
        after = state.get(change.record_id)
        step = Step(position, change.version, after.nights if after else None)
        self.steps.setdefault(change.record_id, []).append(step)

    def _during(self, answer: Operation) -> Iterator[int]:
        """The positions that may have been the present state at some instant of the request."""
        first = bisect_left(self._latest, answer.began)
        last = bisect_right(self._earliest, answer.answered) - 1
        return iter(range(first, last + 1))

    def _step(self, record_id: str, position: int) -> Step | None:
        steps = self.steps.get(record_id, [])
        number = bisect_right(steps, position, key=lambda step: step.position)
        return steps[number - 1] if number else None

    def _fits(self, answer: Operation, position: int) -> bool:
        step = self._step(answer.record_id, position)
        if answer.code == INVENTORY_OVERLAP and answer.nights is not None:
            named = answer.body["conflict"]
            # A retry is not refused for the nights its own key won, nor a modification for those it has.
            own = self._record_of.get(answer.effect, answer.record_id)
            return any(
                (other.kind, str(other.nights[0]), str(other.nights[1]))
                == (named["kind"], named["start_date"], named["end_date"])
                and overlap(other.nights, answer.nights)
                for record_id, other in self.live[position].items()
                if record_id != own
            )
        if answer.code == ILLEGAL_TRANSITION:
            return step is not None and step.nights is None
        if answer.is_acknowledged and step is not None:
            # Asked for what is already so: modify to the same nights, cancel or release what is over.
            return step.version == answer.body["inventory_version"] and step.nights == answer.nights
        return False
