"""Validation: which rows are refused and why (golden tables), and that the stage records before it fails."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobs import item, validate
from jobs.errors import HeldError, SettingsError, ToolchainError
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.sections import RowRule
from jobs.settings import Settings
from jobs.tables import AUDIT_RESULTS, NEIGHBOURS, QUARANTINED_ITEMS, RAW_ITEMS
from tests import cases
from tests.conftest import MINIMAL

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SHOP = """
[sources.shop]
path = "shop.csv"
columns = { id = "id", title = "name", price = "price" }
[validate]
docs = "docs"
"""
SOUND = {"id": "1", "name": "Chair", "price": "5"}

Validate = Callable[[str, list[dict[str, str]]], Counts]


@pytest.fixture
def run(spark: "SparkSession", lake: Lake, settings_of: Callable[[str], Settings], night: Night) -> Validate:
    """Runs the stage on a lake that holds the rows of one shop."""
    for table in (RAW_ITEMS, QUARANTINED_ITEMS, NEIGHBOURS, AUDIT_RESULTS):
        lake.create(table)

    def of(text: str, rows: list[dict[str, str]]) -> Counts:
        raw: list[tuple[object, ...]] = [(night.date, "shop", "shop.csv", i, "0", None, row) for i, row in enumerate(rows, 1)]
        lake.replace(RAW_ITEMS, lake.frame(RAW_ITEMS, raw), night, empty=True)
        return validate.run(spark, lake, settings_of(text), night)

    return of


@pytest.mark.parametrize("case", cases.of("validate"), ids=lambda case: case.folder.name)
def test_golden(case: cases.Case, lake: Lake, night: Night) -> None:
    raw = lake.frame(RAW_ITEMS, case.raw(night))
    rows = validate.judged(item.parsed(raw, case.settings), case.settings.validate_)
    found = validate.quarantined(raw, rows, case.settings).orderBy("source", "row").collect()
    assert [{"source": r.source, "row": r.row, "item_id": r.item_id, "reasons": r.reasons} for r in found] == case.expected
    given = {(row[1], row[3]): row[-1] for row in case.raw(night)}
    assert all(json.loads(r["values"]) == given[r.source, r.row] for r in found)


def test_run_records_and_reruns_to_the_same(run: Validate, lake: Lake, night: Night, tmp_path: Path) -> None:
    rows = [SOUND, SOUND | {"id": "2", "name": "Table"}, SOUND | {"id": "", "name": "<b>&bad"}]
    counts = run(SHOP, rows)
    assert (counts.rows_in, counts.rows_out) == (3, 1)
    assert counts.figures == {"quarantined in shop": 1, "quarantined: id is missing": 1}
    first = lake.read(AUDIT_RESULTS, night).orderBy("check").collect()
    assert [row.check for row in first if row.grade == "fail"] == ["raw_items: quarantined_share", "raw_items: rows"]
    page = (tmp_path / "docs" / "2026-01-05" / "index.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;&amp;bad" in page
    assert "<b>&bad" not in page
    assert "http" not in page  # it opens offline
    assert run(SHOP, rows) == counts
    assert lake.read(AUDIT_RESULTS, night).orderBy("check").collect() == first
    assert lake.read(QUARANTINED_ITEMS, night).count() == 1


def test_a_suspect_feed_is_recorded_then_held(run: Validate, lake: Lake, night: Night, tmp_path: Path) -> None:
    with pytest.raises(HeldError, match=r"quarantined_share \(shop\) is 0\.667, expected <= 0\.5") as held:
        run(SHOP, [SOUND, SOUND | {"id": ""}, SOUND | {"id": "3", "price": "-1"}])
    assert str(tmp_path / "docs" / "2026-01-05" / "index.html") in held.value.remedy
    assert lake.read(QUARANTINED_ITEMS, night).count() == 2
    assert [row.check for row in lake.read(AUDIT_RESULTS, night).where("NOT passed AND grade = 'fail'").collect()] == [
        "raw_items: quarantined_share"
    ]
    assert "Held" in (tmp_path / "docs" / "2026-01-05" / "index.html").read_text(encoding="utf-8")


def test_a_source_without_rows_holds_the_night(run: Validate) -> None:
    with pytest.raises(HeldError, match=r"rows \(shop\) is 0, expected >= 1"):
        run(SHOP, [])


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("colour = 'red'", r"validate\.rules\[0\]\.when is no SQL predicate over source, .*colour"),
        ("price >", r"validate\.rules\[0\]\.when is no SQL predicate"),
        ("length(title)", r"validate\.rules\[0\]\.when gives int, expected a boolean"),
    ],
)
def test_a_wrong_rule_is_named(when: str, said: str, lake: Lake, settings_of: Callable[[str], Settings]) -> None:
    parsed = item.parsed(lake.frame(RAW_ITEMS, []), settings_of(SHOP))
    with pytest.raises(SettingsError, match=f"(?s){said}"):
        validate.own_rules(parsed, [RowRule(reason="own", when=when)])


def test_a_rule_that_breaks_on_a_value_is_told(run: Validate) -> None:
    rule = 'rules = [{ reason = "own", when = "CAST(title AS int) > 1" }]'
    with pytest.raises(SettingsError, match=r"(?s)validate\.rules broke on a value: \[CAST_INVALID_INPUT\].*try_cast"):
        run(SHOP + rule, [SOUND])


def test_a_page_that_cannot_be_written_leaves_the_tables_and_names_the_setting(
    spark: "SparkSession", lake: Lake, settings_of: Callable[[str], Settings], night: Night
) -> None:
    for table in (RAW_ITEMS, QUARANTINED_ITEMS, NEIGHBOURS, AUDIT_RESULTS):
        lake.create(table)
    lake.replace(RAW_ITEMS, lake.frame(RAW_ITEMS, [(night.date, "shop", "a.csv", 1, "0", None, {"id": "1", "title": "Lamp"})]), night)
    settings = settings_of(MINIMAL + '[validate]\ndocs = "s3a://key:dark/matter@bucket/docs"\n')
    with pytest.raises(
        ToolchainError, match=r"cannot be written to s3a://\*\*\*@bucket/docs: .*\n  → set validate\.docs to a folder"
    ) as raised:
        validate.run(spark, lake, settings, night)
    assert "matter" not in str(raised.value)
    assert not lake.read(AUDIT_RESULTS, night).isEmpty()
