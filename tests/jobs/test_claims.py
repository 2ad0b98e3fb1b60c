"""Two processes on one night: the later has it, and the earlier ends before it writes again."""

from datetime import date

import pytest

from jobs.claims import claimed
from jobs.errors import SupersededError
from jobs.lake import Lake
from jobs.night import Night

FIRST, SECOND, NEXT = Night(date(2026, 1, 5), "first"), Night(date(2026, 1, 5), "second"), Night(date(2026, 1, 6), "next")


def test_the_run_that_began_last_has_the_night(lake: Lake) -> None:
    first = claimed(lake, FIRST, begins=True)
    first()
    other_night = claimed(lake, NEXT, begins=True)
    first()  # a commit that is not of this night
    second = claimed(lake, SECOND, begins=True)
    with pytest.raises(
        SupersededError, match=r"run second has begun the night of 2026-01-05 at ..:..:.. UTC \(.*, process \d+\); this one"
    ):
        first()
    with pytest.raises(SupersededError, match="--run-id second"):  # its later stages are refused at once
        claimed(lake, FIRST, begins=False)
    second()
    other_night()
    again = claimed(lake, FIRST, begins=True)
    again()
    with pytest.raises(SupersededError, match="run first has begun"):
        second()


def test_of_one_run_the_newest_process_goes_on(lake: Lake) -> None:
    """A task that was retried while the JVM of its first try was still at work."""
    load = claimed(lake, FIRST, begins=True)
    embed = claimed(lake, FIRST, begins=False)
    embed()
    with pytest.raises(SupersededError, match="another process of run first has gone on with the night of 2026-01-05"):
        load()
    retried = claimed(lake, FIRST, begins=False)
    retried()
    with pytest.raises(SupersededError):
        embed()
