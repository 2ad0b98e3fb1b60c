"""Refuses rows that can't be products, each with all its reasons, and holds the night if a whole feed is suspect.

Every raw row is parsed by the functions that `clean` uses, so the rules see numbers. What is refused lies in `quarantined_items` with its
original row; the verdict on the sources lies in `audit_results` and on a page, and all three are written before the stage fails. Nothing
is mended here. Two seconds of one core for 10,000 rows, and a few for the verdict.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

from pyspark.errors import (
    AnalysisException,
    ArithmeticException,
    ArrayIndexOutOfBoundsException,
    DateTimeException,
    NumberFormatException,
    SparkRuntimeException,
)
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType

from expectations import page, raw_items
from expectations.suite import Result, load_ahead, verdict
from jobs import drift, item
from jobs.address import shown
from jobs.errors import HeldError, SettingsError, ToolchainError
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.sections import RowRule, Validate
from jobs.settings import Settings
from jobs.tables import AUDIT_RESULTS, QUARANTINED_ITEMS, RAW_ITEMS

# a title with one of these characters names something, however short it is: 茶 is a word
_WORD_CHARACTERS = r"[\p{IsHan}\p{IsHiragana}\p{IsKatakana}\p{IsHangul}]"
_BREAKS = (ArithmeticException, ArrayIndexOutOfBoundsException, DateTimeException, NumberFormatException, SparkRuntimeException)
_EXAMPLES = 5  # rows shown on the page for each source and reason


class Reason(StrEnum):
    """Why a row is refused. Reports group by these sentences, so none holds a value of the row."""

    NO_ID = "id is missing"
    NO_TITLE = "title is missing"
    NO_WORD = "title holds no letter or digit"
    BROKEN_ROW = "row does not fit its header"
    NEGATIVE_PRICE = "price is negative"
    ZERO_PRICE = "price is zero"
    CONTRADICTION = "rows of one id contradict each other"


def row_rules(rules: Validate) -> list[tuple[str, Column]]:
    """Reason and predicate, over a parsed row, of every built-in rule. Price faults are reasons already."""
    title, price = F.col("title"), F.col("price")
    short = (F.length(title) < rules.title_min) & ~title.rlike(_WORD_CHARACTERS)
    found = [
        (Reason.NO_ID, F.col("id").isNull()),
        (Reason.NO_TITLE, title.isNull()),
        (f"title is shorter than {rules.title_min} characters", short),
        (f"title is longer than {rules.title_max} characters", F.length(title) > rules.title_max),
        (Reason.NO_WORD, ~title.rlike(r"[\p{L}\p{N}]")),
        (Reason.BROKEN_ROW, F.col("fault").isNotNull()),
        (Reason.NEGATIVE_PRICE, price < 0),
        (f"price is above {rules.price_max:,.0f}", price > rules.price_max),
    ]
    return [*found, (Reason.ZERO_PRICE, price == 0)] if rules.zero_price == "quarantine" else found


def own_rules(parsed: DataFrame, rules: Sequence[RowRule]) -> list[tuple[str, Column]]:
    """Reason and predicate of the catalogue's own rules. Raises SettingsError, naming the key, for what is no predicate over a row."""
    for i, rule in enumerate(rules):
        key = f"validate.rules[{i}].when"
        try:
            kind = parsed.select(F.expr(rule.when)).schema[0].dataType
        except AnalysisException as error:
            raise SettingsError(f"{key} is no SQL predicate over {', '.join(parsed.columns)}: {error}", f"mend {rule.when!r}") from error
        if not isinstance(kind, BooleanType):
            raise SettingsError(f"{key} gives {kind.simpleString()}, expected a boolean", f"compare {rule.when!r} with something")
    return [(rule.reason, F.expr(rule.when)) for rule in rules]


def judged(parsed: DataFrame, rules: Validate) -> DataFrame:
    """Every row's key, id, reasons and flags. A rule that gives null is not met. Only rows with no reason of their own can contradict each
    other: all of them are refused then, since nothing says which is right."""
    predicates = [*row_rules(rules), *own_rules(parsed, rules.rules)]
    reasons = F.array_compact(F.array(F.col("price_fault"), *(F.when(predicate, F.lit(str(reason))) for reason, predicate in predicates)))
    flags = [F.expr(sql).alias(flag) for flag, sql in raw_items.FLAGS.items()]
    rows = parsed.select(*item.KEY, "id", "content", reasons.alias("own_reasons"), *flags).withColumn("valid", F.size("own_reasons") == 0)
    # rows that are refused already stand alone: a million of them without id would make one giant group
    alone = F.concat_ws("#", "file", F.col("row").cast("string"))
    same_id = Window.partitionBy("source", "valid", F.when(F.col("valid"), F.col("id")).otherwise(alone))
    contradiction = F.min("content").over(same_id) != F.max("content").over(same_id)
    added = F.when(contradiction, F.array(F.lit(str(Reason.CONTRADICTION)))).otherwise(F.array())
    return rows.select(
        *item.KEY,
        "id",
        F.concat("own_reasons", added).alias("reasons"),
        *raw_items.FLAGS,
        (~F.col("valid") | contradiction).alias("quarantined"),
        (F.count(F.lit(1)).over(same_id) > 1).alias("repeated"),
    )


def quarantined(raw: DataFrame, rows: DataFrame, settings: Settings) -> DataFrame:
    """The refused rows as `quarantined_items` holds them."""
    refused = rows.where("quarantined").select(*item.KEY, F.expr(item.id_sql(settings)).alias("item_id"), "reasons")
    values = F.to_json("values", {"ignoreNullFields": "false"}).alias("values")
    return raw.join(refused, item.KEY).select("snapshot_date", *item.KEY, "item_id", "reasons", values)


def refusals(table: DataFrame) -> list[page.Refusal]:
    """Quarantined rows counted by source and reason, each with a few examples. One Spark job over the refused rows."""
    one_reason = table.select(
        *item.KEY, F.left("values", F.lit(page.EXAMPLE_CHARACTERS)).alias("values"), F.explode("reasons").alias("reason")
    )
    group = Window.partitionBy("source", "reason")
    ranked = one_reason.withColumn("rows", F.count(F.lit(1)).over(group)).withColumn("n", F.row_number().over(group.orderBy("file", "row")))
    found: dict[tuple[str, str], page.Refusal] = {}
    for row in ranked.where(F.col("n") <= _EXAMPLES).orderBy("source", F.desc("rows"), "reason", "n").collect():
        refusal = found.setdefault((row.source, row.reason), page.Refusal(row.source, row.reason, row.rows, []))
        refusal.examples.append(page.Example(row.file, row.row, row["values"]))
    return list(found.values())


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    load_ahead()
    rules = settings.validate_
    raw = lake.read(RAW_ITEMS, night)
    rows = judged(item.parsed(raw, settings), rules).persist()
    with _own_rules_named(rules):
        figures = raw_items.figures(rows, {name: source.columns.mapped() for name, source in settings.sources.items()})
    lake.replace(QUARANTINED_ITEMS, quarantined(raw, rows, settings), night, empty=True)
    rows.unpersist()
    results = verdict(raw_items.TABLE, raw_items.suite(rules.quarantine_max), figures)
    results += drift.results(lake, night, rules.drift)
    record(lake, night, results)
    refused = refusals(lake.read(QUARANTINED_ITEMS, night))
    try:
        address = shown(page.write(rules.docs, night.date, page.html(night.date, night.run_id, results, figures, refused)))
    except page.PageError as error:
        raise ToolchainError(shown(str(error)), "set validate.docs to a folder that this user can write") from error
    hold(results, night, address)
    return counts(figures, refused)


def record(lake: Lake, night: Night, results: Iterable[Result]) -> None:
    """Writes the results in place of an earlier verdict on the night's rows."""
    rows = lake.frame(AUDIT_RESULTS, [result.row(night.date, night.run_id) for result in results])
    lake.replace(AUDIT_RESULTS, rows, night, within=f"(({night.of_this_run} AND check NOT LIKE 'feeds:%') OR {night.verdict})")


def hold(results: Iterable[Result], night: Night, address: str) -> None:
    """Raises HeldError if an expectation graded fail is not met."""
    broken = [result for result in results if result.grade == "fail" and not result.passed]
    if broken:
        listed = "".join(f"\n  {result}" for result in broken)
        remedy = f"look at {address}, mend the feed or its mapping in the settings, then run the night again from ingest"
        raise HeldError(f"the night of {night.date} is held by validate:{listed}", remedy)


def counts(figures: Sequence[Any], refused: Iterable[page.Refusal]) -> Counts:
    by_source = {f"quarantined in {row['group']}": float(row["quarantined"]) for row in figures}
    by_reason: dict[str, float] = {}
    for refusal in refused:
        by_reason[f"quarantined: {refusal.reason}"] = by_reason.get(f"quarantined: {refusal.reason}", 0.0) + refusal.rows
    rows = int(sum(row["rows"] for row in figures))
    return Counts(rows_in=rows, rows_out=int(sum(by_source.values())), unit="rows quarantined", figures=by_source | by_reason)


@contextmanager
def _own_rules_named(rules: Validate) -> Iterator[None]:
    """Tells a catalogue whose own rule breaks on a value where to look."""
    try:
        yield
    except _BREAKS as error:
        if not rules.rules:
            raise
        raise SettingsError(
            f"a predicate of validate.rules broke on a value: {error}", "use try_cast, try_divide and the like in `when`"
        ) from error
