"""Proves the checker of histories: a legal one is green, every planted violation goes red and names its invariant."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.e2e.infra.history import check
from tests.e2e.infra.history_records import NEVER, UNDECIDED, Action, Nights, Operation
from tests.e2e.infra.history_script import PROPERTY, Scripted, change_of, nights


def id_of(asked: Operation) -> str:
    return str(asked.body["id"])


@pytest.fixture
def script() -> Scripted:
    return Scripted()


def test_a_legal_history_is_green(script: Scripted) -> None:
    first = script.ask("book", nights(0, 3), key="a")
    assert script.ask("book", nights(2, 4), key="b").is_refused
    assert script.ask("book", nights(0, 3), key="a").content == first.content
    hold = script.ask("hold", nights(3, 5), key="c")
    assert script.ask("modify", nights(2, 4), of=id_of(first)).is_refused
    script.ask("release", of=id_of(hold))
    script.ask("release", of=id_of(hold))
    script.ask("modify", nights(2, 4), of=id_of(first))
    script.ask("modify", nights(2, 4), of=id_of(first))
    script.ask("cancel", of=id_of(first))
    assert script.ask("modify", nights(5, 6), of=id_of(first)).is_refused
    script.ask("book", nights(2, 4), key="b")
    assert script.violated() == set()


@pytest.mark.parametrize("happens", [True, False], ids=["done", "not done"])
def test_an_answer_that_never_came_is_green_whether_it_was_done_or_not(script: Scripted, happens: bool) -> None:
    script.ask("book", nights(0, 3), key="a", heard=False, happens=happens)
    assert script.ask("book", nights(2, 4), key="b").is_refused is happens
    assert script.violated() == set()
    retried = script.ask("book", nights(0, 3), key="a")
    assert retried.is_acknowledged is happens
    cancelled = id_of(retried if happens else script.operations[1])
    script.ask("cancel", of=cancelled, heard=False, happens=happens)
    script.ask("book", nights(0, 3), key="c")
    assert script.violated() == set()


def test_a_request_that_was_still_under_way_elsewhere_decides_nothing(script: Scripted) -> None:
    waiting = script.ask("book", nights(0, 3), key="a", heard=False, happens=False)
    script.rewrite(waiting, answered=1.0, status=409, content=json.dumps({"code": UNDECIDED}).encode())
    script.ask("book", nights(0, 3), key="a")
    assert script.violated() == set()


def test_random_histories_of_a_right_ledger_are_green() -> None:
    for seed in range(30):
        script = Scripted()
        _play(script, random.Random(seed))
        assert len(script.changes) > 10
        assert script.violated() == set(), seed


def _play(script: Scripted, dice: random.Random) -> None:
    """Requests that overlap in time, each taking effect at its beginning, some of them unheard."""
    known: list[str] = []
    for number in range(60):
        start = dice.randrange(12)
        wanted = nights(start, start + dice.randint(1, 3))
        began = float(number)
        during, heard = (began, began + dice.choice((0.5, 1.5, 4.5))), dice.random() < 0.9
        match dice.choice(("book", "book", "hold", "modify", "end", "again")):
            case "book" | "hold" as action:
                asked = script.ask(action, wanted, key=f"key-{number}", heard=heard, during=during)
                known += [id_of(asked)] if asked.is_acknowledged else []
            case "modify":
                if booked := [found for found in known if script.records[found] == "reservation"]:
                    script.ask("modify", wanted, of=dice.choice(booked), heard=heard, during=during)
            case "end" if known:
                ended = dice.choice(known)
                ending: Action = "release" if script.records[ended] == "hold" else "cancel"
                script.ask(ending, of=ended, heard=heard, during=during)
            case "again":
                if keyed := [found for found in script.operations if found.key]:
                    old = dice.choice(keyed)
                    asked = script.ask(old.action, old.nights, key=old.key, during=during)
                    known += [id_of(asked)] if asked.is_acknowledged else []


def test_two_active_ranges_that_overlap_violate_i1(script: Scripted) -> None:
    script.ask("book", nights(0, 3), key="a")
    second = script.ask("book", nights(3, 5), key="b")
    script.live[id_of(second)] = nights(2, 5)
    assert "I1" in script.violated()


@pytest.fixture
def booked_twice(script: Scripted) -> tuple[Operation, Operation]:
    """A double booking, as a race would make it: two acknowledged bookings share a night."""
    first = script.ask("book", nights(0, 3), key="a")
    del script.live[id_of(first)]
    second = script.ask("book", nights(2, 5), key="b")
    script.live[id_of(first)] = nights(0, 3)
    return first, second


@pytest.mark.parametrize("repaired", [True, False], ids=["repaired later", "left so"])
def test_a_double_booking_violates_i2_even_when_it_is_repaired_later(
    script: Scripted, booked_twice: tuple[Operation, Operation], repaired: bool
) -> None:
    if repaired:
        script.ask("cancel", of=id_of(booked_twice[1]))
    assert script.violated() == ({"I2", "I6"} if repaired else {"I1", "I2", "I6"})


def test_a_double_booking_that_somebody_may_just_have_cancelled_is_left_to_the_order(script: Scripted) -> None:
    first = script.ask("book", nights(0, 3), key="a")
    script.ask("cancel", of=id_of(first), during=(script.now, script.now + 10))
    second = script.ask("book", nights(2, 5), key="b")
    script.rewrite(second, began=script.operations[1].began, answered=script.operations[1].began + 2)
    assert script.violated() == set()


@pytest.mark.parametrize("kept", ["change", "nothing"])
def test_a_lost_booking_violates_i3(script: Scripted, kept: str) -> None:
    lost = script.ask("book", nights(0, 3), key="a")
    del script.live[id_of(lost)]
    if kept == "nothing":
        del script.records[id_of(lost)]
        script.changes.clear()
    assert script.violated() == {"I3"}


def test_a_lost_modification_violates_i3(script: Scripted) -> None:
    booked = script.ask("book", nights(0, 3), key="a")
    modified = script.ask("modify", nights(5, 6), of=id_of(booked))
    del script.changes[-1]
    script.live[id_of(booked)] = nights(0, 3)
    assert modified.is_acknowledged
    assert "I3" in script.violated()


def test_a_lost_cancellation_violates_i3(script: Scripted) -> None:
    booked = script.ask("book", nights(0, 3), key="a")
    script.ask("cancel", of=id_of(booked))
    script.live[id_of(booked)] = nights(0, 3)
    assert "I3" in script.violated()


def _phantom_record(script: Scripted) -> None:
    script.records["phantom"] = "reservation"


def _phantom_range(script: Scripted) -> None:
    _phantom_record(script)
    script.live["phantom"] = nights(8, 9)


def _phantom_change(script: Scripted) -> None:
    _phantom_range(script)
    asked = Operation("nobody's", "book", PROPERTY, 0.0, nights(8, 9))
    script.changes.append(change_of(asked, "phantom", len(script.changes) + 2, None))


def _other_nights(script: Scripted) -> None:
    asked = script.ask("book", nights(8, 9), key="unheard", heard=False)
    record_id = script.changes[-1].record_id
    script.changes[-1] = change_of(replace(asked, nights=nights(8, 10)), record_id, script.changes[-1].version, None)
    script.live[record_id] = nights(8, 10)


@pytest.mark.parametrize("plant", [_phantom_record, _phantom_range, _phantom_change, _other_nights])
def test_a_phantom_row_violates_i4(script: Scripted, plant: Any) -> None:
    script.ask("book", nights(0, 3), key="a")
    plant(script)
    assert script.violated() == {"I4"}


def test_a_refusal_that_took_effect_violates_i4(script: Scripted) -> None:
    booked = script.ask("book", nights(0, 3), key="a")
    script.rewrite(booked, status=409, content=json.dumps({"code": "inventory_overlap"}).encode())
    assert script.violated() == {"I4"}


def _refuse(script: Scripted, wanted: Nights, named: Nights, during: tuple[float, float] | None = None) -> None:
    refused = script.ask("book", wanted, key=f"refused-{len(script.operations)}", happens=False, during=during)
    conflict = {"kind": "reservation", "start_date": str(named[0]), "end_date": str(named[1])}
    content = json.dumps({"code": "inventory_overlap", "conflict": conflict}).encode()
    script.rewrite(refused, status=409, content=content)


def test_a_refusal_that_nothing_justifies_violates_i5(script: Scripted) -> None:
    script.ask("book", nights(0, 3), key="a")
    _refuse(script, nights(3, 5), nights(0, 3))
    assert script.violated() == {"I5"}


def test_a_refusal_for_nights_that_were_free_again_before_violates_i5(script: Scripted) -> None:
    booked = script.ask("book", nights(0, 3), key="a")
    cancelled = script.ask("cancel", of=id_of(booked))
    _refuse(script, nights(1, 4), nights(0, 3), during=(cancelled.answered - 0.5, cancelled.answered + 1))
    assert script.violated() == set(), "it may have been live still"
    _refuse(script, nights(1, 4), nights(0, 3))
    assert script.violated() == {"I5"}


def test_a_refusal_for_nights_sold_only_later_violates_i5(script: Scripted) -> None:
    _refuse(script, nights(1, 4), nights(0, 3))
    script.ask("book", nights(0, 3), key="a")
    assert script.violated() == {"I5"}


def test_a_retry_that_is_refused_for_its_own_nights_violates_i5(script: Scripted) -> None:
    unheard = script.ask("book", nights(0, 3), key="a", heard=False)
    _refuse(script, nights(0, 3), nights(0, 3))
    assert script.violated() == set(), "under another key it is justified"
    script.rewrite(script.operations[-1], key=unheard.key)
    assert script.violated() == {"I5"}


def test_a_refusal_of_another_kind_violates_i5(script: Scripted) -> None:
    refused = script.ask("book", nights(0, 3), key="a", happens=False)
    script.rewrite(refused, status=422, content=json.dumps({"code": "validation_error"}).encode())
    assert script.violated() == {"I5"}


def test_an_order_that_real_time_forbids_violates_i6(script: Scripted) -> None:
    first = script.ask("book", nights(0, 3), key="a")
    second = script.ask("book", nights(3, 5), key="b")
    script.rewrite(first, began=second.answered + 1, answered=second.answered + 2)
    assert script.violated() == {"I6"}


def test_answers_that_go_back_in_time_violate_i6(script: Scripted) -> None:
    booked = script.ask("book", nights(0, 3), key="a")
    script.ask("cancel", of=id_of(booked), heard=False)
    seen_over = script.ask("cancel", of=id_of(booked))
    _refuse(script, nights(0, 3), nights(0, 3), during=(seen_over.began, seen_over.answered))
    assert script.violated() == set(), "the two overlap: the refusal may have come first"
    script.rewrite(script.operations[-1], began=seen_over.answered + 1, answered=seen_over.answered + 2)
    assert script.violated() & {"I5", "I6"}


def test_answers_of_two_clients_that_contradict_each_other_violate_i6(script: Scripted) -> None:
    """Each answer fits some state of its time; together, one after the other, they fit none."""
    booked = script.ask("book", nights(0, 3), key="a")
    cancelled = script.ask("cancel", of=id_of(booked), during=(10, 30))
    gone = script.ask("modify", nights(5, 6), of=id_of(booked), during=(12, 14))
    assert (cancelled.is_acknowledged, gone.code) == (True, "illegal_transition")
    _refuse(script, nights(0, 3), nights(0, 3), during=(13, 15))
    assert script.violated() == set()
    _refuse(script, nights(0, 3), nights(0, 3), during=(20, 22))
    assert script.violated() == {"I6"}


def test_a_version_that_is_missing_or_acknowledged_otherwise_violates_i6(script: Scripted) -> None:
    script.ask("book", nights(0, 3), key="a")
    last = script.ask("book", nights(3, 5), key="b")
    body = {**last.body, "inventory_version": 7}
    script.rewrite(last, content=json.dumps(body).encode())
    assert script.violated() == {"I6"}
    script.changes[-1] = replace(script.changes[-1], version=7)
    assert script.violated() == {"I6"}


def test_a_second_effect_for_one_key_violates_i7(script: Scripted) -> None:
    booked = script.ask("book", nights(0, 3), key="a")
    script.ask("cancel", of=id_of(booked))
    again = script.ask("book", nights(0, 3), key="other", heard=False)
    assert script.violated() == set()
    script.rewrite(again, key="a")
    assert "I7" in script.violated()


def test_a_second_modification_by_one_request_violates_i7(script: Scripted) -> None:
    booked = script.ask("book", nights(0, 3), key="a")
    modified = script.ask("modify", nights(5, 6), of=id_of(booked), heard=False)
    script.changes.append(change_of(modified, id_of(booked), 4, nights(5, 6)))
    assert script.violated() == {"I7"}


@pytest.mark.parametrize("spoil", [lambda content: content + b" ", lambda content: content.replace(b"2", b"3")])
def test_a_replay_that_is_not_equal_byte_by_byte_violates_i7(script: Scripted, spoil: Any) -> None:
    script.ask("book", nights(0, 3), key="a")
    replayed = script.ask("book", nights(0, 3), key="a")
    script.rewrite(replayed, content=spoil(replayed.content))
    assert script.violated() == {"I7"}


def test_a_key_that_is_refused_after_it_was_acknowledged_violates_i7(script: Scripted) -> None:
    booked = script.ask("book", nights(0, 3), key="a")
    script.ask("cancel", of=id_of(booked))
    script.ask("book", nights(0, 3), key="b")
    _refuse(script, nights(0, 3), nights(0, 3))
    script.rewrite(script.operations[-1], key="a")
    assert script.violated() == {"I7"}


def test_an_acknowledgement_of_another_record_than_its_key_made_violates_i7(script: Scripted) -> None:
    booked = script.ask("book", nights(0, 3), key="a")
    other = script.ask("book", nights(3, 5), key="b")
    script.rewrite(booked, content=other.content)
    assert "I7" in script.violated()


def test_every_planted_violation_is_told_in_words(script: Scripted, booked_twice: Sequence[Operation]) -> None:
    told = [str(violation) for violation in check(script.operations, script.ledger())]
    assert any(id_of(booked_twice[0]) in line and line.startswith("I2: ") for line in told)
    assert script.operations[0].ends < NEVER
