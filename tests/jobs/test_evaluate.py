"""recall@k against numbers worked out by hand, and what is refused instead of being counted as zero."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from jobs.errors import ContractError, SettingsError, SourceError
from jobs.evaluate import evaluate
from jobs.lake import Lake
from jobs.night import Night
from jobs.settings import Settings
from jobs.tables import CLEAN_ITEMS, NEIGHBOURS
from tests.conftest import MINIMAL
from tests.rows import clean_item, in_order


@pytest.fixture
def settings(settings_of: Callable[[str], Settings]) -> Settings:
    return settings_of(MINIMAL + '[lake]\nroot = "lake"\n[neighbours]\nk = 3\n')


@pytest.fixture
def empty(lake: Lake) -> Lake:
    lake.create(CLEAN_ITEMS)
    lake.create(NEIGHBOURS)
    return lake


@pytest.fixture
def published(empty: Lake, night: Night) -> Lake:
    """Two nights: a to d with three neighbours each, in the order of the letters; a night later only a and d, which have each other."""
    publish(empty, night, {item: [other for other in "abcd" if other != item] for item in "abcd"})
    publish(empty, Night(night.date + timedelta(days=1), "later"), {"a": ["d"], "d": ["a"]})
    return empty


def publish(lake: Lake, night: Night, found: dict[str, list[str]]) -> None:
    """A night of the items that are keys, with their neighbours, nearest first."""
    items = [clean_item(night, item, f"title {item}") for item in found]
    pairs = [
        in_order(
            NEIGHBOURS,
            {"snapshot_date": night.date, "item_id": item, "rank": rank, "neighbour_id": other, "similarity": 0.5}
            | {"parts": {"semantic": 0.5}, "model_id": "tiny", "run_id": night.run_id},
        )
        for item, others in found.items()
        for rank, other in enumerate(others, start=1)
    ]
    lake.replace(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, items), night)
    lake.replace(NEIGHBOURS, lake.frame(NEIGHBOURS, pairs), night)


@pytest.fixture
def truth(tmp_path: Path) -> Callable[..., Path]:
    """A file of pairs: "ab" is a with its match b."""

    def of(*pairs: str) -> Path:
        file = tmp_path / "truth.csv"
        file.write_text("\n".join(["query_id,match_id", *(",".join(pair) for pair in pairs)]), encoding="utf-8")
        return file

    return of


def test_recall_is_the_share_of_pairs_within_k(published: Lake, settings: Settings, truth: Callable[..., Path], night: Night) -> None:
    pairs = truth("ab", "ac", "dc", "xb")  # ranks 1, 2 and 3; x is not in the night, so its pair is missed
    assert evaluate(settings, pairs, [1, 2, 3], night.date).splitlines() == [
        "night 2026-01-05, 4 true pairs, 1 of them with a query that is not in the night",
        "recall@1   0.2500  (1 of 4)",
        "recall@2   0.5000  (2 of 4)",
        "recall@3   0.7500  (3 of 4)",
    ]


def test_a_match_that_is_not_in_the_night_is_told_too(
    published: Lake, settings: Settings, truth: Callable[..., Path], night: Night
) -> None:
    assert evaluate(settings, truth("ab", "ax", "ay"), [1], night.date).splitlines() == [
        "night 2026-01-05, 3 true pairs, 2 of them with a match that is not in the night",
        "recall@1   0.3333  (1 of 3)",
    ]
    both = evaluate(settings, truth("ab", "xy"), [1], night.date).splitlines()[0]
    assert both.endswith("1 of them with a query that is not in the night, 1 of them with a match that is not in the night")


def test_a_night_whose_items_are_forgotten_is_measured(
    published: Lake, settings: Settings, truth: Callable[..., Path], night: Night
) -> None:
    published.delete(CLEAN_ITEMS, night, "true")
    assert evaluate(settings, truth("ab"), [1], night.date).splitlines()[0] == "night 2026-01-05, 1 true pairs"


def test_a_truth_of_which_the_night_knows_no_pair(empty: Lake, settings: Settings, truth: Callable[..., Path], night: Night) -> None:
    publish(empty, night, {"buy:a": ["buy:b"], "buy:b": ["buy:a"]})
    with pytest.raises(SourceError, match=r"truth\.csv: .* the file has 'a', ids of the night read like 'buy:a'\n.*<source>:<id>"):
        evaluate(settings, truth("ab"), [1])
    with pytest.raises(SourceError, match=r"the file has 'x', ids of the night read like 'buy:a'"):
        evaluate(settings, truth(("buy:a", "x")), [1])


def test_the_newest_night_is_the_default(published: Lake, settings: Settings, truth: Callable[..., Path]) -> None:
    assert evaluate(settings, truth("ad", "aa"), [1]).splitlines() == ["night 2026-01-06, 2 true pairs", "recall@1   0.5000  (1 of 2)"]


def test_a_night_that_is_not_published_is_refused(published: Lake, settings: Settings, truth: Callable[..., Path]) -> None:
    with pytest.raises(SettingsError, match=r"--date 2026-02-01: .* not published\n.*the nearest of 2: 2026-01-05, 2026-01-06"):
        evaluate(settings, truth("ab"), [1], date(2026, 2, 1))


@pytest.mark.parametrize("night", [None, date(2026, 1, 5)])
def test_nothing_is_measured_where_nothing_is_published(
    empty: Lake, settings: Settings, truth: Callable[..., Path], night: date | None
) -> None:
    with pytest.raises(ContractError, match=r"no night is published under .*/lake\n  → run one first"):
        evaluate(settings, truth("ab"), [1], night)


def test_a_lake_that_lacks_the_table_is_told(lake: Lake, settings: Settings, truth: Callable[..., Path]) -> None:
    lake.create(CLEAN_ITEMS)
    with pytest.raises(ContractError, match=r"cannot be read: .*neighbours does not exist.*\n.*shelfmates prepare"):
        evaluate(settings, truth("ab"), [1])


def test_k_is_held_against_the_ranks_of_the_night(
    published: Lake, settings_of: Callable[[str], Settings], truth: Callable[..., Path], night: Night
) -> None:
    settings = settings_of(MINIMAL + '[lake]\nroot = "lake"\n[neighbours]\nk = 1\n')  # set since
    assert "recall@3   1.0000" in evaluate(settings, truth("ab"), [3], night.date)
    with pytest.raises(SettingsError, match=r"--k 4: the lists of 2026-01-05 end at rank 3\n  → ask for 1 to 3"):
        evaluate(settings, truth("ab"), [1, 4], night.date)
    with pytest.raises(SettingsError, match=r"--k 0: k must be at least 1"):
        evaluate(settings, truth("ab"), [0, 1], night.date)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("query,match\na,b\n", r"has the columns \['query', 'match'\]\n  → it needs query_id and match_id"),
        ("query_id,match_id\n", "has no pairs"),
        (None, "no truth file at"),
    ],
)
def test_a_truth_that_cannot_be_used(settings: Settings, tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "truth.csv"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(SourceError, match=said):
        evaluate(settings, file, [1])
