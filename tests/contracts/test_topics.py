"""The topic registry answers who writes, who reads, how long it stays; and misses no change."""

from __future__ import annotations

from datetime import timedelta

import pytest

from contracts import booking_reservations_v1 as changes
from contracts.booking_reservations_v1 import CHANGES, InventoryChange
from contracts.dead_letters_v1 import dead_letter_key
from contracts.topics import (
    BOOKING_PROPERTIES,
    BOOKING_RESERVATIONS,
    EXTERNAL,
    MIB,
    SERVICES,
    TOPICS,
    Topic,
    owned_by,
)
from contracts.values import EventModel, RangeKind, ReservationStatus

EACH_TOPIC = pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)


@EACH_TOPIC
def test_every_topic_says_owner_key_consumers_retention_and_size(topic: Topic) -> None:
    assert topic.owner in SERVICES
    assert topic.key
    assert topic.description
    assert topic.consumers
    assert set(topic.consumers) <= {*SERVICES, EXTERNAL}
    assert topic.name.endswith(".v1")
    if topic.cleanup == "compact":
        assert topic.retention is None
    else:
        assert topic.retention == timedelta(days=7)
    assert topic.max_message_bytes == 4 * MIB
    assert topic.null_is_legal is (topic.cleanup == "compact")


@EACH_TOPIC
def test_every_consuming_service_has_a_dead_letter_topic_it_owns(topic: Topic) -> None:
    readers = [service for service in topic.consumers if service in SERVICES]
    assert readers or EXTERNAL in topic.consumers
    letters = {letter.name: letter for letter in topic.dead_letters}
    assert set(letters) == {f"{topic.name}.{service}.dlq" for service in readers}
    for service in readers:
        letter = letters[topic.dead_letter_name(service)]
        assert letter in owned_by(service)
        assert (letter.cleanup, letter.retention) == ("compact,delete", timedelta(days=7))
        assert letter.max_message_bytes == 5 * MIB
        assert letter.max_message_bytes > topic.max_message_bytes
        assert letter.null_is_legal


def test_every_topic_is_created_by_exactly_one_service() -> None:
    owned = [topic.name for service in SERVICES for topic in owned_by(service)]
    expected = [*TOPICS, *(letter for topic in TOPICS for letter in topic.dead_letters)]
    assert sorted(owned) == sorted(topic.name for topic in expected)
    assert not owned_by("gateway")


def test_the_event_names_of_a_topic_are_those_of_their_models() -> None:
    for topic in TOPICS:
        for name, model in topic.events.items():
            assert name == model.__name__
            assert issubclass(model, EventModel)


def test_every_change_model_is_on_the_topic() -> None:
    abstract = {"InventoryChange", "ReservationChange", "HoldChange", "BlockChange", "ConflictChange", "PropertyChange"}
    defined = {
        name
        for name, value in vars(changes).items()
        if isinstance(value, type) and issubclass(value, InventoryChange) and name not in abstract
    }
    assert defined == {model.__name__ for model in CHANGES}
    assert set(BOOKING_RESERVATIONS.events) == defined | {"Watermark"}


# One event per change the suite knows, also those of issues to come: adding one later would stop old consumers.
EVENT_OF_STATUS = {
    ReservationStatus.INQUIRY: "ReservationInquired",
    ReservationStatus.PENDING: "ReservationRequested",
    ReservationStatus.CONFIRMED: "ReservationConfirmed",
    ReservationStatus.CHECKED_IN: "ReservationCheckedIn",
    ReservationStatus.CHECKED_OUT: "ReservationCheckedOut",
    ReservationStatus.DECLINED: "ReservationDeclined",
    ReservationStatus.CANCELLED: "ReservationCancelled",
    ReservationStatus.EXPIRED: "ReservationExpired",
    ReservationStatus.NO_SHOW: "ReservationNoShow",
    ReservationStatus.OVERBOOKED: "ReservationOverbooked",
}
EVENTS_OF_RANGE = {
    RangeKind.RESERVATION: {"ReservationModified", "ReservationMoved", "ReservationRated"},
    RangeKind.HOLD: {"HoldPlaced", "HoldExtended", "HoldReleased", "HoldExpired", "HoldConsumed"},
    RangeKind.BLOCK: {"BlockCreated", "BlockModified", "BlockDeleted"},
    RangeKind.CONFLICT: {"ConflictOpened", "ConflictChanged", "ConflictClosed"},
}
OTHERS = {"PropertyCreated", "PropertyChanged", "PropertyDeleted", "ChannelRevisionApplied", "GuestErased", "Watermark"}


def test_every_status_hold_block_conflict_and_property_change_has_its_event() -> None:
    assert set(EVENT_OF_STATUS) == set(ReservationStatus)
    assert set(EVENTS_OF_RANGE) == set(RangeKind)
    expected = set(EVENT_OF_STATUS.values()) | OTHERS | {name for names in EVENTS_OF_RANGE.values() for name in names}
    assert set(BOOKING_RESERVATIONS.events) == expected


def test_both_booking_topics_have_the_same_key_so_that_their_partitions_match() -> None:
    assert BOOKING_RESERVATIONS.key == BOOKING_PROPERTIES.key == "property_id"


def test_a_dead_letter_has_the_same_key_whoever_writes_it() -> None:
    assert dead_letter_key("a.v1", 3, 42) == b"a.v1/3/42"
