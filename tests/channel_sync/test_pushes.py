"""Proves when a failed push is tried again."""

from hypothesis import given
from hypothesis import strategies as st

from channel_sync.domain.pushes import OutcomeKind, pause_s

FAILURES = [OutcomeKind.REFUSED, OutcomeKind.NOT_SENT, OutcomeKind.UNKNOWN]


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.sampled_from(FAILURES))
def test_a_pause_is_never_zero_and_never_longer_than_a_minute(attempts: int, jitter: float, kind: OutcomeKind) -> None:
    pause = pause_s(kind, None, attempts, jitter)
    assert 0.1 <= pause <= (10 if kind is OutcomeKind.NOT_SENT else 60)


def test_pauses_grow_with_the_attempts() -> None:
    pauses = [pause_s(OutcomeKind.REFUSED, None, attempts, 0.5) for attempts in range(1, 9)]
    assert pauses == sorted(set(pauses))


def test_retry_after_is_honoured_up_to_an_hour() -> None:
    assert pause_s(OutcomeKind.REFUSED, 30, 1, 0.5) == 30
    assert pause_s(OutcomeKind.REFUSED, 10**9, 1, 0.5) == 3600
    assert pause_s(OutcomeKind.REFUSED, 0, 1, 0.5) > 0


def test_what_had_to_wait_for_a_call_goes_on_when_there_is_one() -> None:
    assert pause_s(OutcomeKind.DEFERRED, 7.5, 30, 0.5) == 7.5
    assert pause_s(OutcomeKind.DEFERRED, None, 30, 0.5) == 0
