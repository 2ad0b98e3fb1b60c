"""What the explorer tells of a lake, against what was put there."""

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from functools import partial
from pathlib import Path

import duckdb
import pytest
from shelfmates.explorer import answers, lake_cache
from shelfmates.explorer.lake_cache import MOST_PARTS, LakeCache, NotThereError, Part

from tests.dags.explorer_lake import CAME, GONE, HELD, HOSTILE, PLAIN, PUBLISHED, make, pairs, stages, write


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("lake"))


@pytest.fixture(scope="module")
def cache(root: Path) -> Iterator[LakeCache]:
    with closing(LakeCache(str(root))) as cache:
        yield cache


def found(cache: LakeCache, text: str, night: date = HELD) -> set[str]:
    told = answers.search(cache, night, text, 0, 50)
    assert told["found"] == len(told["items"])
    return {row["item_id"] for row in told["items"]}


def test_nights_tell_their_state_and_their_figures(cache: LakeCache) -> None:
    first, second = answers.nights(cache, 10)
    assert (first["night"], first["state"], first["published"]) == (PUBLISHED, "published", True)
    assert first["released"]["who"] == "Ada"
    assert (second["night"], second["state"], second["published"], second["broken"]) == (HELD, "held", False, ["night: churn"])
    assert (second["items"], second["quarantined"], second["recall"], second["churn"]) == (9, 2, 0.99, 0.7)
    assert second["quarantined_share"] == pytest.approx(2 / 9)
    assert [stage["stage"] for stage in second["stages"]][-2:] == ["neighbours", "audit"]
    assert [night["night"] for night in answers.nights(cache, 1)] == [HELD]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {*PLAIN, *HOSTILE} - {GONE}),
        ("ecritoire", {"oak"}),  # accents do not matter
        ("DESK oak", {"oak"}),  # every word, in any order and case
        ("lx-2", {"lamp"}),  # the beginning of a word
        ("00", {"lamp"}),  # in the midst of a word, where no word begins so
        ("skdes", {"long"}),
        ("DROP TABLE", {"sql"}),
        ("an a desk whose id looks like an address elephant", set[str]()),  # the last word of many counts as well
        ("'; DROP TABLE items; --", {"sql"}),
        ("%", set[str]()),  # no wildcard
        ("\x00", {"nul"}),
        ("a/b", {"a/b?c=d&e#f"}),  # ids are searched as well
        ("שולחן", {"bidirectional"}),
    ],
)
def test_search_finds_what_all_words_begin(cache: LakeCache, text: str, expected: set[str]) -> None:
    assert found(cache, text) == expected


def test_pages_of_a_search_follow_each_other(cache: LakeCache) -> None:
    every = [row["item_id"] for row in answers.search(cache, HELD, "", 0, 50)["items"]]
    pages = [row["item_id"] for skip in range(0, 9, 2) for row in answers.search(cache, HELD, "", skip, 2)["items"]]
    assert pages == every
    assert answers.search(cache, HELD, "desk", 1000, 2)["items"] == []
    within = [answers.search(cache, HELD, "esk", skip, 1) for skip in range(7)]  # in the midst of words
    assert [told["found"] for told in within] == [6] * 7
    assert len({row["item_id"] for told in within for row in told["items"]}) == 6


def test_a_night_of_which_there_are_no_products_is_told(cache: LakeCache) -> None:
    never = date(1999, 1, 1)
    for ask in (
        lambda: answers.search(cache, never, "", 0, 5),
        lambda: answers.item(cache, HELD, "oak", never),
        lambda: answers.changes(cache, never, HELD),
    ):
        with pytest.raises(NotThereError, match="no products of 1999-01-01"):
            ask()


def test_a_published_night_that_is_run_again_shows_what_is_staged_while_it_is_held(tmp_path: Path) -> None:
    make(tmp_path)
    done = dict.fromkeys(("ingest", "neighbours"), "ok")
    write(tmp_path, "staged_neighbours", pairs(PUBLISHED, ["oak", "script", "lamp"], 3, "again"))
    write(tmp_path, "runs", stages(PUBLISHED, "again", done | {"audit": "HeldError: churn"}, 9, hour=12))
    write(tmp_path, "runs", stages(HELD, "maintenance", {"maintain": "ok"}, 9, hour=13))
    with closing(LakeCache(str(tmp_path))) as cache:
        told = [(night["run_id"], night["state"], night["published"]) for night in answers.nights(cache, 5)]
        assert told == [("again", "held", True), ("two", "held", False)]
        told = answers.item(cache, PUBLISHED, "oak", None)
        assert (told["published"], [row["item_id"] for row in told["neighbours"]]) == (False, ["script", "lamp"])
    write(tmp_path, "runs", stages(PUBLISHED, "again", {"publish": "ConflictError: another"}, 9, hour=14))
    with closing(LakeCache(str(tmp_path))) as cache:
        assert answers.nights(cache, 5)[0]["state"] == "failed"
        assert answers.item(cache, PUBLISHED, "oak", None)["neighbours"][0]["item_id"] == "pine"  # what readers of the tables have
    write(tmp_path, "runs", stages(PUBLISHED, "again", {"publish": "ok"}, 9, hour=15))
    with closing(LakeCache(str(tmp_path))) as cache:
        assert answers.nights(cache, 5)[0]["state"] == "published"
        assert answers.item(cache, PUBLISHED, "oak", None)["neighbours"][0]["item_id"] == "pine"


def test_a_published_night_keeps_its_neighbours_where_a_later_run_has_staged_none(tmp_path: Path) -> None:
    """Staged ones are kept for days, published ones for months."""
    make(tmp_path)
    write(tmp_path, "runs", stages(PUBLISHED, "dry", {"neighbours": "ok", "audit": "ok"}, 9, hour=12))
    with closing(LakeCache(str(tmp_path))) as cache:
        told = answers.item(cache, PUBLISHED, "oak", None)
    assert (told["published"], len(told["neighbours"])) == (True, 2)


def test_what_could_not_be_read_is_told_to_all_who_wait_for_it(root: Path) -> None:
    part, said = Part("clean_items", "SELECT no_such_function(item_id) FROM source", HELD), list[str]()

    def ask() -> None:
        with pytest.raises(duckdb.Error) as told, cache.reading(items=part):
            pass
        said.append(str(told.value))

    with closing(LakeCache(str(root))) as cache:
        at_once(ask, ask, ask)
    assert len(said) == 3
    assert all("no_such_function" in each for each in said)


def test_a_product_of_a_published_night_has_its_published_neighbours(cache: LakeCache) -> None:
    told = answers.item(cache, PUBLISHED, "oak", None)
    assert told["published"]
    assert told["item"]["title"] == PLAIN["oak"]
    assert [(row["rank"], row["item_id"], row["title"]) for row in told["neighbours"]] == [
        (1, "pine", PLAIN["pine"]),
        (2, "lamp", PLAIN["lamp"]),
    ]
    assert told["neighbours"][0]["parts"]["semantic"] == pytest.approx(0.9)
    assert told["neighbours"][0]["parts"]["codes"] is None


def test_a_product_of_a_held_night_has_as_many_staged_neighbours_as_would_be_published(cache: LakeCache) -> None:
    told = answers.item(cache, HELD, "oak", PUBLISHED)
    assert not told["published"]
    assert [(row["item_id"], row["new"]) for row in told["neighbours"]] == [("lamp", False), ("script", True)]
    assert [row["item_id"] for row in told["gone"]] == ["pine"]


@pytest.mark.parametrize("item_id", ["nobody", "' OR 1 = 1 --", ""])
def test_a_product_that_is_not_there_is_told(cache: LakeCache, item_id: str) -> None:
    with pytest.raises(NotThereError, match="has no product"):
        answers.item(cache, HELD, item_id, None)


def test_quarantine_counts_every_reason_and_shows_the_rows_as_they_came(cache: LakeCache) -> None:
    told = answers.quarantine(cache, HELD, None, None, 0, 50)
    assert [(row["reason"], row["rows"]) for row in told["reasons"]] == [("price is not a number", 2), ("title is missing", 1)]
    assert told["rows"][0]["values"] == {"title": HOSTILE["script"], "price": "x"}
    one = answers.quarantine(cache, HELD, "title is missing", "shop", 0, 50)
    assert [row["row"] for row in one["rows"]] == [2]
    assert answers.quarantine(cache, HELD, None, "market", 0, 50)["found"] == 0
    assert answers.quarantine(cache, PUBLISHED, None, None, 0, 50)["rows"] == []


def test_changes_between_two_nights(cache: LakeCache) -> None:
    told = answers.changes(cache, PUBLISHED, HELD)
    assert [row["item_id"] for row in told["came"]["rows"]] == [CAME]
    assert [row["item_id"] for row in told["went"]["rows"]] == [GONE]
    assert (told["both"], told["changed"]["price"], told["changed"]["title"]) == (8, 1, 0)
    before = {(row["item_id"], row["neighbour_id"]) for row in pairs(PUBLISHED, [n for n in PLAIN | HOSTILE if n != CAME], 2, "")}
    after = {(row["item_id"], row["neighbour_id"]) for row in pairs(HELD, [n for n in PLAIN | HOSTILE if n != GONE], 2, "")}
    lost = {pair for pair in before - after if pair[0] != GONE}
    assert told["lists"]["lost"] == len(lost)
    assert {row["item_id"] for row in told["lists"]["rows"]} == {item_id for item_id, _ in lost}


def test_the_audit_of_a_night_begins_with_what_holds_it(cache: LakeCache) -> None:
    told = answers.audit(cache, HELD)
    assert [(row["check"], row["passed"]) for row in told["checks"]] == [("night: churn", False), ("clean_items: rows", True)]
    assert answers.audit(cache, PUBLISHED)["releases"][0]["why"] == "looked at it"
    with pytest.raises(NotThereError, match="no run"):
        answers.audit(cache, date(2020, 1, 1))


def test_a_night_published_again_is_read_again_and_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shelfmates.explorer.lake_cache.FRESH", 0.0)
    with closing(LakeCache(str(make(tmp_path)))) as cache:
        assert answers.item(cache, PUBLISHED, "oak", None)["neighbours"][0]["item_id"] == "pine"
        assert answers.changes(cache, PUBLISHED, HELD)["lists"]["pairs"] == 16
        rows = pairs(PUBLISHED, ["oak", "lamp"], 1, "again")
        write(tmp_path, "neighbours", rows, "overwrite", f"snapshot_date = '{PUBLISHED}'")
        assert answers.changes(cache, PUBLISHED, HELD)["lists"]["pairs"] == 2
        assert [row["item_id"] for row in answers.item(cache, PUBLISHED, "oak", None)["neighbours"]] == ["lamp"]
        assert answers.item(cache, PUBLISHED, "lamp", None)["neighbours"][0]["item_id"] == "oak"


def test_a_lake_without_tables_says_so(tmp_path: Path) -> None:
    with closing(LakeCache(str(tmp_path))) as cache:
        assert cache.nights("neighbours") == []
        with pytest.raises(NotThereError, match="no table runs"):
            answers.nights(cache, 10)


def at_once(*tasks: Callable[[], None]) -> None:
    """Every task in a thread of its own."""
    threads = [threading.Thread(target=task) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def held(cache: LakeCache) -> int:
    with cache.reading(items=answers.items_of(HELD)) as connection:
        return len(connection.execute("SELECT * FROM duckdb_tables() WHERE NOT temporary").fetchall())


def test_what_is_held_stays_bounded_while_many_read(root: Path) -> None:
    parts = [Part("clean_items", f"SELECT item_id, {at} AS number FROM source", HELD) for at in range(MOST_PARTS + 20)]
    wrong: list[Part] = []

    def read(turn: list[Part]) -> None:
        for part in turn:
            with cache.reading(rows=part) as connection:
                if connection.execute("SELECT count(*), any_value(number) FROM rows").fetchone() != (9, parts.index(part)):
                    wrong.append(part)

    with closing(LakeCache(str(root))) as cache:
        at_once(*(partial(read, turn) for turn in (parts, parts[::-1], parts[::2])))
        assert wrong == []
        assert MOST_PARTS / 2 < held(cache) <= MOST_PARTS + 1


def test_what_is_kept_is_bounded_by_its_size(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = "SELECT md5(concat(item_id, range, '{}')) AS text FROM source, range(50_000)"  # some megabytes
    parts = [Part("clean_items", large.format(at), HELD) for at in range(4)]
    monkeypatch.setattr(lake_cache, "MOST_BYTES", 20_000_000)
    with closing(LakeCache(str(root))) as cache:
        for part in [*parts, *parts]:
            with cache.reading(rows=part) as connection:
                assert connection.execute("SELECT count(*) FROM rows").fetchone() == (450_000,)
        assert 1 < held(cache) < 4
        with cache.reading(rows=parts[-1]) as connection:
            assert connection.execute("SELECT sum(total_blocks * block_size) < 60_000_000 FROM pragma_database_size()").fetchone() == (
                True,
            )


def test_what_a_killed_process_has_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    own, others = tmp_path / f"{lake_cache.FOLDER}{os.getpid()}-x", tmp_path / f"{lake_cache.FOLDER}{2**30}-x"
    for folder in (own, others):
        (folder / "cache.duckdb").mkdir(parents=True)
    lake_cache.remove_leftovers()
    assert [*tmp_path.iterdir()] == [own]


def test_what_several_ask_for_at_once_is_read_once(root: Path) -> None:
    read, begin = list[object](), threading.Barrier(8)

    def ask() -> None:
        begin.wait()
        with cache.reading(items=answers.items_of(HELD)) as connection:
            read.append(connection.execute("SELECT count(*) FROM items").fetchone())

    with closing(LakeCache(str(root))) as cache:
        at_once(*[ask] * 8)
        assert read == [(9,)] * 8
        assert held(cache) == 1
