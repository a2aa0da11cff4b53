"""What the auditor judges by, pure: order of versions, identity of events, how a finding is told; called by service.

I8: every event of the outbox is on the topic under one event id. It follows from three checks: the outbox has one event
per version, the topic's first appearances are consecutive and reach the property's version, and every event id on the
topic is one of the outbox.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID

EXCLUSIVE = "I1"
COMPLETE = "I8"
ORDERED = "I10"

Detail = dict[str, str | int | None]


@dataclass(frozen=True, slots=True)
class Finding:
    """A violated invariant: which, how, of which property, and what tells it from others of the same kind."""

    invariant: str
    kind: str
    agency_id: UUID | None
    property_id: UUID | None
    subject: str
    detail: Detail

    @property
    def fingerprint(self) -> str:
        """The same for the same violation, however often it is seen."""
        return f"{self.invariant}/{self.kind}/{self.property_id}/{self.subject}"


@dataclass(frozen=True, slots=True)
class StoredFinding:
    """A finding as it is stored; instants in UTC."""

    id: int
    invariant: str
    kind: str
    agency_id: UUID | None
    property_id: UUID | None
    detail: dict[str, Any]
    found_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One row of the outbox."""

    outbox_id: int
    event_id: UUID
    property_id: UUID
    agency_id: UUID
    version: int


@dataclass(frozen=True, slots=True)
class TopicEvent:
    """One record of the topic that takes a version."""

    event_id: UUID
    property_id: UUID
    agency_id: UUID | None
    version: int
    occurred_at: datetime
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Position:
    """The last versions seen of one property; `topic` is None when records were lost unread."""

    agency_id: UUID | None = None
    floor: int = 0
    outbox: int = 0
    topic: int | None = 0

    @property
    def audited_outbox(self) -> int:
        """The version the next event of the outbox follows."""
        return max(self.floor, self.outbox)


UNKNOWN = Position()


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two active ranges of one property that share nights; `range_id` begins first or as early."""

    agency_id: UUID
    property_id: UUID
    range_id: UUID
    other_range_id: UUID
    start: date
    end: date


@dataclass(frozen=True, slots=True)
class Suspect:
    """A property whose version was ahead of what the auditor had seen of its events.

    `outbox_id` is the newest row of that moment: once the auditor is past it, the events must have been seen.
    `topic_end` is the end of the partition read after all those rows were sent.
    """

    property_id: UUID
    agency_id: UUID
    shard: int
    version: int
    outbox_id: int
    topic_end: int | None = None


def overlap_finding(overlap: Overlap) -> Finding:
    """Nights that are taken twice."""
    pair = sorted((str(overlap.range_id), str(overlap.other_range_id)))
    detail: Detail = {
        "range_id": str(overlap.range_id),
        "other_range_id": str(overlap.other_range_id),
        "start_date": overlap.start.isoformat(),
        "end_date": overlap.end.isoformat(),
    }
    return Finding(EXCLUSIVE, "overlap", overlap.agency_id, overlap.property_id, "/".join(pair), detail)


def check_outbox(events: Iterable[StoredEvent], positions: dict[UUID, Position]) -> list[Finding]:
    """Rows in id order must carry consecutive versions; moves `positions` on."""
    findings = []
    for event in events:
        position = positions.get(event.property_id, UNKNOWN)
        if event.version <= position.floor:
            continue
        last = position.audited_outbox
        if event.version != last + 1:
            kind = "version_gap" if event.version > last else "version_inversion"
            detail: Detail = {"version": event.version, "after_version": last, "outbox_id": event.outbox_id}
            findings.append(
                Finding(ORDERED, kind, event.agency_id, event.property_id, f"outbox/{event.outbox_id}", detail)
            )
        moved = replace(position, agency_id=event.agency_id, outbox=max(position.outbox, event.version))
        positions[event.property_id] = moved
    return findings


def check_topic(
    events: Iterable[TopicEvent], positions: dict[UUID, Position], given_up: Mapping[UUID, Collection[int]]
) -> list[Finding]:
    """First appearances in offset order must carry consecutive versions, but for events given up by hand.

    Moves `positions` on. Lower versions are duplicates here; `Matching` looks at their event ids.
    """
    findings = []
    for event in events:
        position = positions.get(event.property_id, UNKNOWN)
        last = max(position.floor, position.topic) if position.topic is not None else event.version - 1
        if event.version <= last:
            continue
        missing = set(range(last + 1, min(event.version, last + 1000))) - set(given_up.get(event.property_id, ()))
        if missing:
            detail: Detail = {"version": event.version, "after_version": last, **_place(event)}
            subject = f"topic/{event.version}"
            findings.append(Finding(ORDERED, "topic_gap", event.agency_id, event.property_id, subject, detail))
        known_agency = position.agency_id or event.agency_id
        positions[event.property_id] = replace(position, agency_id=known_agency, topic=event.version)
    return findings


def judge_suspect(
    suspect: Suspect, position: Position, given_up: Collection[int], *, is_outbox_read: bool, is_topic_read: bool
) -> tuple[list[Finding], bool]:
    """The findings about a property whose version was ahead, and whether that settles it."""
    findings = []
    outbox, topic = position.audited_outbox, position.topic
    if is_outbox_read and outbox < suspect.version:
        detail: Detail = {"inventory_version": suspect.version, "last_event_version": outbox}
        findings.append(_of(suspect, ORDERED, "last_event_missing", detail))
    missing = set()
    if topic is not None:
        first = max(topic, position.floor) + 1
        missing = set(range(first, min(suspect.version, first + 1000) + 1)) - set(given_up)
    if is_topic_read and missing:
        findings.append(_of(suspect, COMPLETE, "not_on_topic", {"version": min(missing), "last_on_topic": topic}))
    is_settled = (outbox >= suspect.version or is_outbox_read) and (not missing or is_topic_read)
    return findings, is_settled


def _of(suspect: Suspect, invariant: str, kind: str, detail: Detail) -> Finding:
    return Finding(invariant, kind, suspect.agency_id, suspect.property_id, str(suspect.version), detail)


def unreadable(partition: int, offset: int, why: str) -> Finding:
    """A record no consumer can read."""
    place: Detail = {"partition": partition, "offset": offset, "why": why}
    return Finding(COMPLETE, "unreadable", None, None, f"{partition}/{offset}", place)


@dataclass(slots=True)
class Carried:
    """A record whose row the auditor has not met yet; it must by the time it is past `outbox_id`."""

    event: TopicEvent
    outbox_id: int


@dataclass(slots=True)
class Matching:
    """Event ids of the topic against those of the outbox, in bounded memory.

    `remembered` rows are kept, newest last; a record that matches none of them is carried until the auditor is past
    its row, and then looked up.
    """

    remembered: int
    rows: OrderedDict[UUID, tuple[UUID, int]] = field(default_factory=OrderedDict)
    carried: dict[UUID, Carried] = field(default_factory=dict)

    def add_rows(self, events: Iterable[StoredEvent]) -> None:
        """Note rows of the outbox in id order."""
        for event in events:
            self.rows[event.event_id] = (event.property_id, event.version)
        while len(self.rows) > self.remembered:
            self.rows.popitem(last=False)

    def carry(self, events: Iterable[TopicEvent], outbox_id: int) -> None:
        """Note records read while `outbox_id` was the newest row."""
        for event in events:
            self.carried.setdefault(event.event_id, Carried(event, outbox_id))

    def settle(self, positions: Mapping[UUID, Position]) -> list[Finding]:
        """Let go of what matches or is older than the floor; a row told with other contents is a finding."""
        findings = []
        for event_id, carried in list(self.carried.items()):
            event = carried.event
            row = self.rows.get(event_id)
            is_old = event.version <= positions.get(event.property_id, UNKNOWN).floor
            if row is not None and row != (event.property_id, event.version) and not is_old:
                detail: Detail = {"event_id": str(event_id), "version": event.version, "outbox_version": row[1]}
                findings.append(_topic_finding(event, "differs_from_outbox", {**detail, **_place(event)}))
            if row is not None or is_old:
                del self.carried[event_id]
        return findings

    def strangers(self, outbox_id: int) -> list[TopicEvent]:
        """Records whose row should have been met by now."""
        return [carried.event for carried in self.carried.values() if carried.outbox_id <= outbox_id]

    def drop(self, events: Collection[TopicEvent], in_outbox: Collection[UUID]) -> list[Finding]:
        """Let go of records that were looked up; those in no row of the outbox are findings."""
        findings = []
        for event in events:
            del self.carried[event.event_id]
            if event.event_id in in_outbox:
                continue
            twins = [str(key) for key, row in self.rows.items() if row == (event.property_id, event.version)]
            detail: Detail = {"event_id": str(event.event_id), "version": event.version, **_place(event)}
            if twins:
                findings.append(_topic_finding(event, "two_event_ids", {**detail, "outbox_event_id": twins[0]}))
            else:
                findings.append(_topic_finding(event, "not_in_outbox", detail))
        return findings

    def oldest_offsets(self) -> dict[int, int]:
        """Per partition the first record that is still carried."""
        oldest: dict[int, int] = {}
        for carried in self.carried.values():
            event = carried.event
            oldest[event.partition] = min(event.offset, oldest.get(event.partition, event.offset))
        return oldest


def _topic_finding(event: TopicEvent, kind: str, detail: Detail) -> Finding:
    return Finding(COMPLETE, kind, event.agency_id, event.property_id, str(event.event_id), detail)


def _place(event: TopicEvent) -> Detail:
    return {"partition": event.partition, "offset": event.offset}
