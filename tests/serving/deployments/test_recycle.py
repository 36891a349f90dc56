"""Recycling: when a replica asks to be replaced."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.deployments.recycle import OVERDUE, RecycleRule, Recycling, TimeToRecycle


def test_without_a_rule_nothing_is_ever_due():
    used = Recycling(RecycleRule(), lambda: 1e6)
    used.note_made(1_000_000)
    used.measure()
    used.check_idle()
    assert not used.overdue


@given(st.integers(1, 1000), st.integers(0, 2000))
def test_it_is_due_exactly_from_its_share_on(share, made):
    used = Recycling(RecycleRule(after_songs=share), lambda: 0.0)
    used.note_made(made)
    if made >= share:
        with pytest.raises(TimeToRecycle, match=f"it has made {made} takes, {share} are its share"):
            used.check_idle()
    else:
        used.check_idle()
    assert used.overdue == (made >= share * OVERDUE)


def test_memory_counts_as_it_was_last_measured():
    size_gb = 10.0
    used = Recycling(RecycleRule(resident_gb=12), lambda: size_gb)
    used.measure()
    used.check_idle()
    size_gb = 12.5
    used.check_idle()
    used.measure()
    with pytest.raises(TimeToRecycle, match=r"it has grown to 12\.5 GB, 12 GB are its share"):
        used.check_idle()
    assert not used.overdue
    size_gb = 15.0
    used.measure()
    assert used.overdue
