"""What the explorer tells of what is made of a night, against what was put there."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from shelfmates.explorer import answers, decisions
from shelfmates.explorer.lake_cache import LakeCache, NotThereError

from tests.dags.explorer_lake import HELD, HOSTILE, PLAIN, PUBLISHED, make


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeCache]:
    with closing(LakeCache(str(make(tmp_path_factory.mktemp("lake"))))) as cache:
        yield cache


def test_a_page_is_in_the_order_in_which_it_is_looked_through(cache: LakeCache) -> None:
    told = decisions.page(cache, PUBLISHED, "price_positions", 0, 50)
    assert (told["made"], told["found"]) == (True, 2)
    assert [(row["item_id"], row["title"]) for row in told["rows"]] == [("script", HOSTILE["script"]), ("oak", PLAIN["oak"])]  # worst first
    one, two = (decisions.page(cache, PUBLISHED, "price_positions", skip, 1)["rows"] for skip in (0, 1))
    assert [*one, *two] == told["rows"]
    members = decisions.page(cache, PUBLISHED, "duplicates", 0, 50)["rows"]
    assert [(row["item_id"], row["survivor"]) for row in members] == [("oak", True), ("lamp", False)]


def test_what_is_not_listed_any_more_has_no_title(cache: LakeCache) -> None:
    rows = {row["item_id"]: row for row in decisions.page(cache, PUBLISHED, "substitutes", 0, 50)["rows"]}
    assert rows["not listed any more"]["title"] is None
    assert (rows["lamp"]["other_id"], rows["lamp"]["other_title"], rows["lamp"]["reason"]) == ("oak", PLAIN["oak"], "same brand (Inkwell)")


def test_recommendations_are_counted_and_name_no_people(cache: LakeCache) -> None:
    rows = decisions.page(cache, PUBLISHED, "recommendations", 0, 50)["rows"]
    assert [(row["item_id"], row["people"], row["rank_for_anyone"]) for row in rows] == [
        ("oak", 5, None),
        ("lamp", None, 1),
        ("pine", None, 2),
    ]
    assert not {"user_id", "because_id"} & rows[0].keys()


def test_of_one_product(cache: LakeCache) -> None:
    found = decisions.of_item(cache, PUBLISHED, "lamp")
    assert {name: [row["item_id"] for row in rows] for name, rows in found.items()} == {
        "duplicates": ["oak", "lamp"],  # the whole group
        "price_positions": [],
        "substitutes": ["lamp"],
        "recommendations": ["lamp"],
    }
    assert decisions.of_item(cache, HELD, "lamp") == {}


def test_what_there_is_not(cache: LakeCache) -> None:
    assert decisions.page(cache, HELD, "duplicates", 0, 50)["made"] is False
    bundles = decisions.page(cache, PUBLISHED, "bundles", 0, 50)
    assert (bundles["made"], bundles["found"]) == (True, 0)  # the stage was run, and found none
    with pytest.raises(NotThereError, match="there is no list of user_keys; there are duplicates"):
        decisions.page(cache, PUBLISHED, "user_keys", 0, 50)


def test_a_night_is_not_unfinished_for_what_is_made_of_it(cache: LakeCache) -> None:
    first = answers.nights(cache, 5)[0]
    assert (first["run_id"], first["state"], [stage["stage"] for stage in first["stages"]][-1]) == ("one", "published", "publish")
    told = answers.audit(cache, PUBLISHED)
    assert (told["run_id"], {check["check"] for check in told["checks"]}) == ("one", {"night: churn", "duplicates: single"})
