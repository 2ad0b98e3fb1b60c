"""What a write guarantees: one commit or nothing, the declared schema, no emptied night, no mixture of two writers."""

import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from threading import Barrier, Thread, Timer
from typing import TYPE_CHECKING

import pytest
from delta.exceptions import ConcurrentAppendException
from pyspark.sql import functions as F

from jobs.errors import ContractError, ShelfmatesError, SupersededError
from jobs.lake import Lake
from jobs.night import Night
from jobs.tables import AUDIT_RESULTS, CURRENT_NEIGHBOURS, PARTS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

NEXT = Night(date(2026, 1, 6), "next")


def checks(lake: Lake, night: Night, *names: str) -> "DataFrame":
    rows = [(night.date, night.run_id, name, "warn", True, 1.0, ">= 1", "all: a test") for name in names]
    return lake.frame(AUDIT_RESULTS, rows)


def pairs(lake: Lake, **neighbour_of: str) -> "DataFrame":
    rows = [(item, 1, neighbour, 0.5, {"semantic": 0.5}, "model") for item, neighbour in neighbour_of.items()]
    return lake.frame(CURRENT_NEIGHBOURS, rows)


def names(lake: Lake, night: Night) -> list[str]:
    return sorted(row["check"] for row in lake.read(AUDIT_RESULTS, night).collect())


def test_a_night_is_replaced_alone_and_whole_or_within_a_predicate(lake: Lake, night: Night) -> None:
    lake.create(AUDIT_RESULTS)
    lake.replace(AUDIT_RESULTS, checks(lake, NEXT, "x"), NEXT)
    lake.replace(AUDIT_RESULTS, checks(lake, night, "a", "b"), night)
    lake.replace(AUDIT_RESULTS, checks(lake, night, "c"), night, within="check = 'a'")
    assert names(lake, night) == ["b", "c"]
    assert names(lake, NEXT) == ["x"]
    assert lake.version(AUDIT_RESULTS) == 3  # one commit each, and the creation


def test_a_night_is_not_emptied_by_mistake(lake: Lake, night: Night) -> None:
    lake.create(AUDIT_RESULTS)
    lake.replace(AUDIT_RESULTS, checks(lake, night, "a"), night)
    with pytest.raises(ContractError, match="audit_results of 2026-01-05 would be emptied"):
        lake.replace(AUDIT_RESULTS, checks(lake, night), night)
    assert names(lake, night) == ["a"]


def test_a_table_of_an_earlier_version_is_extended(lake: Lake, night: Night) -> None:
    """Its rows stay, and what it did not hold is null in them."""
    earlier = [replace(c, type="struct<semantic:float>") if c.name == "parts" else c for c in CURRENT_NEIGHBOURS.columns]
    before = replace(CURRENT_NEIGHBOURS, columns=tuple(earlier))
    lake.create(before)
    lake.append(before, lake.frame(before, [("a", 1, "b", 0.5, {"semantic": 0.5}, "model")]), night)
    with pytest.raises(ContractError, match="parts is struct<semantic:float>, declared struct<semantic:float,lexical:float"):
        lake.read(CURRENT_NEIGHBOURS)
    assert lake.extend(CURRENT_NEIGHBOURS)
    assert [row["parts"].asDict() for row in lake.read(CURRENT_NEIGHBOURS).collect()] == [dict.fromkeys(PARTS) | {"semantic": 0.5}]
    assert not lake.extend(CURRENT_NEIGHBOURS)


def test_every_difference_of_a_schema_is_told(lake: Lake, night: Night) -> None:
    lake.create(AUDIT_RESULTS)
    wrong = checks(lake, night, "a").drop("bound").withColumn("figure", F.lit("1")).withColumn("more", F.lit(1))
    with pytest.raises(ContractError) as refused:
        lake.replace(AUDIT_RESULTS, wrong, night)
    assert refused.value.found == "audit_results: bound string is missing; more int is not declared; figure is string, declared double"


def test_a_broken_constraint_is_told_and_nothing_is_written(lake: Lake, night: Night) -> None:
    lake.create(AUDIT_RESULTS)
    with pytest.raises(Exception, match=r"(?i)null"):
        lake.replace(AUDIT_RESULTS, checks(lake, night, "a").withColumn("check", F.lit(None).cast("string")), night)
    assert lake.version(AUDIT_RESULTS) == 0


def test_a_table_that_was_never_made_is_named(lake: Lake) -> None:
    with pytest.raises(ContractError, match=r"there is no table audit_results under .*\n  → run `shelfmates prepare`"):
        lake.read(AUDIT_RESULTS)


def at_once(*calls: "object") -> list[object]:
    """What each call returned or raised, all started at one moment."""
    start, outcomes = Barrier(len(calls)), [None] * len(calls)

    def run(place: int) -> None:
        start.wait()
        try:
            outcomes[place] = calls[place]()  # type: ignore[operator]
        except ShelfmatesError as error:
            outcomes[place] = error  # type: ignore[call-overload]

    threads = [Thread(target=run, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return list(outcomes)


def test_first_runs_at_once_make_a_table_once(lake: Lake) -> None:
    made = at_once(*[lambda: lake.create(AUDIT_RESULTS)] * 4)
    assert True in made  # not once alone: Delta lets a second one make the same table over the first
    assert set(made) <= {True, False}
    assert lake.version(AUDIT_RESULTS) == 0


def test_a_table_that_another_process_makes_meanwhile_is_taken(lake: Lake, tmp_path: Path) -> None:
    """Between its folder and its first commit: this process has looked, and thinks that there is none."""
    other = Lake(lake.spark, str(tmp_path / "other"))
    other.create(AUDIT_RESULTS)
    Path(lake.root, AUDIT_RESULTS.name, "_delta_log").mkdir(parents=True)
    assert not lake.exists(AUDIT_RESULTS)
    commits = Timer(1, shutil.copytree, (other.path(AUDIT_RESULTS), lake.path(AUDIT_RESULTS)), {"dirs_exist_ok": True})
    commits.start()
    assert lake.create(AUDIT_RESULTS) is False
    commits.join()
    assert lake.exists(AUDIT_RESULTS)


def test_two_writers_of_one_night_never_mix(lake: Lake, night: Night) -> None:
    lake.create(AUDIT_RESULTS)
    frames = [checks(lake, night, *(f"{writer}{n}" for n in range(50))) for writer in "ab"]
    outcomes = at_once(*[lambda frame=frame: lake.replace(AUDIT_RESULTS, frame, night) for frame in frames])
    kept = names(lake, night)
    assert len(kept) == 50
    assert len({name[0] for name in kept}) == 1
    assert all(outcome is None or isinstance(outcome, ShelfmatesError) for outcome in outcomes)
    assert None in outcomes


def test_two_nights_never_disturb_each_other(lake: Lake, night: Night) -> None:
    lake.create(AUDIT_RESULTS)
    assert at_once(*[lambda n=n: lake.replace(AUDIT_RESULTS, checks(lake, n, "a"), n) for n in (night, NEXT)]) == [None, None]
    assert names(lake, night) == names(lake, NEXT) == ["a"]


def test_the_fence_is_asked_before_every_commit(lake: Lake, night: Night) -> None:
    def taken() -> None:
        raise SupersededError("the night is another's", "nothing is to be done")

    lake.create(AUDIT_RESULTS)
    lake.create(CURRENT_NEIGHBOURS)
    lake.replace(AUDIT_RESULTS, checks(lake, night, "a"), night)
    fenced = replace(lake, fence=taken)
    for write in (
        lambda: fenced.replace(AUDIT_RESULTS, checks(lake, night, "b"), night),
        lambda: fenced.append(AUDIT_RESULTS, checks(lake, night, "b"), night),
        lambda: fenced.delete(AUDIT_RESULTS, night, "check = 'a'"),
        lambda: fenced.synchronise(CURRENT_NEIGHBOURS, pairs(lake, a="b"), night),
    ):
        with pytest.raises(SupersededError):
            write()
    assert (names(lake, night), lake.version(AUDIT_RESULTS), lake.version(CURRENT_NEIGHBOURS)) == (["a"], 1, 0)


def test_after_a_conflict_the_fence_is_asked_again(lake: Lake) -> None:
    """Whoever has taken the night over is told, rather than what got in the way."""
    answers = iter([None, SupersededError("the night is another's", "nothing is to be done")])

    def fence() -> None:
        if answer := next(answers):
            raise answer

    with pytest.raises(SupersededError), replace(lake, fence=fence)._commit(AUDIT_RESULTS):
        raise ConcurrentAppendException("two at once")


def test_only_rows_that_differ_reach_the_change_feed(lake: Lake, night: Night) -> None:
    lake.create(CURRENT_NEIGHBOURS)
    assert lake.synchronise(CURRENT_NEIGHBOURS, pairs(lake, a="b", b="a", c="a"), night) == 3
    same = pairs(lake, a="b", b="a", c="a")
    assert lake.synchronise(CURRENT_NEIGHBOURS, same.select(*reversed(same.columns)), night) == 0
    assert lake.version(CURRENT_NEIGHBOURS) == 1  # nothing to change, no commit
    assert lake.synchronise(CURRENT_NEIGHBOURS, pairs(lake, a="b", b="c", d="a"), NEXT) == 3
    feed = lake.spark.read.format("delta").option("readChangeFeed", "true").option("startingVersion", 2)
    changes = feed.load(lake.path(CURRENT_NEIGHBOURS)).collect()
    assert sorted((row["item_id"], row["_change_type"]) for row in changes) == [
        ("b", "update_postimage"),
        ("b", "update_preimage"),
        ("c", "delete"),
        ("d", "insert"),
    ]
