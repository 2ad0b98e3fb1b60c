"""Ingest of small feeds into a real lake: what arrives, what is refused, and that a refused night leaves the table as it was."""

import gzip
import hashlib
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import feed, ingest
from jobs.errors import SourceError, TransientError
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.settings import Settings
from jobs.tables import AUDIT_RESULTS, RAW_ITEMS
from tests.conftest import MINIMAL

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SHOPS = """
[sources.shop]
path = "feeds/{date}/shop-*.csv"
columns = { id = "id", title = "title" }
[sources.depot]
path = "feeds/{date}/depot.jsonl.gz"
format = "jsonl"
columns = { id = "id", title = "name" }
[sources.mill]
path = "feeds/mill.parquet"
format = "parquet"
columns = { id = "id", title = "title" }
"""

Ingest = Callable[[str], Counts]


@pytest.fixture
def feeds(tmp_path: Path) -> Path:
    """Feeds of two nights of three shops."""
    folder = tmp_path / "feeds"
    for night in ("2026-01-04", "2026-01-05"):
        (folder / night).mkdir(parents=True)
        (folder / night / "shop-1.csv").write_text("id,title\n1,Lamp\n2,Chair,red\n", encoding="utf-8")
        (folder / night / "shop-2.csv").write_text("id,title,note\n3,Été,\n", encoding="utf-8")
        (folder / night / "depot.jsonl.gz").write_bytes(gzip.compress(b'{"id": 7, "name": "Bolt", "sizes": [6, 8]}\nbroken\n', mtime=0))
    pq.write_table(pa.table({"id": [1], "title": ["Flour"], "price": [1.5]}), folder / "mill.parquet")
    return folder


@pytest.fixture
def run(spark: "SparkSession", lake: Lake, settings_of: Callable[[str], Settings], night: Night) -> Ingest:
    for table in (RAW_ITEMS, AUDIT_RESULTS):
        lake.create(table)
    return lambda text: ingest.run(spark, lake, settings_of(text), night)


def rows_of(lake: Lake) -> list[dict[str, Any]]:
    return [row.asDict() for row in lake.read(RAW_ITEMS).orderBy("source", "file", "row").collect()]


def test_every_row_arrives_as_it_came(feeds: Path, run: Ingest, lake: Lake, night: Night) -> None:
    counts = run(SHOPS)
    files = [feeds / "2026-01-05/depot.jsonl.gz", feeds / "mill.parquet", feeds / "2026-01-05/shop-1.csv", feeds / "2026-01-05/shop-2.csv"]
    sha256 = {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    depot, mill, first, second = files
    expected = [
        ("depot", depot, 1, None, {"id": "7", "name": "Bolt", "sizes": "[6,8]"}),
        ("depot", depot, 2, "the line is not a JSON object", {"": "broken"}),
        ("mill", mill, 1, None, {"id": "1", "title": "Flour", "price": "1.5"}),
        ("shop", first, 1, None, {"id": "1", "title": "Lamp"}),
        ("shop", first, 2, "3 fields under a header of 2", {"id": "2", "title": "Chair", "+3": "red"}),
        ("shop", second, 1, None, {"id": "3", "title": "Été", "note": ""}),
    ]
    assert rows_of(lake) == [
        {"snapshot_date": night.date, "source": s, "file": str(f), "row": r, "file_sha256": sha256[f], "fault": fault, "values": values}
        for s, f, r, fault, values in expected
    ]
    size = sum(file.stat().st_size for file in files)
    assert counts == Counts(6, 6, "rows", {"files": 4, "bytes": size, "rows_shop": 3, "rows_depot": 2, "rows_mill": 1})


def test_a_night_again_replaces_itself_and_no_other_night(
    feeds: Path, spark: "SparkSession", lake: Lake, settings_of: Callable[[str], Settings], night: Night
) -> None:
    lake.create(RAW_ITEMS)
    lake.create(AUDIT_RESULTS)
    settings = settings_of(SHOPS.partition("[sources.depot]")[0])
    ingest.run(spark, lake, settings, Night(date(2026, 1, 4), "before"))
    ingest.run(spark, lake, settings, night)
    before = rows_of(lake)
    ingest.run(spark, lake, settings, night)
    assert rows_of(lake) == before
    assert len(before) == 6


def test_no_file_is_written_where_one_is_broken_and_all_broken_ones_are_named(feeds: Path, run: Ingest, lake: Lake) -> None:
    (feeds / "2026-01-05/shop-2.csv").write_bytes(b"id,title\n1,Lamp\n2,Caf\xe9\n")
    (feeds / "2026-01-05/depot.jsonl.gz").write_bytes(gzip.compress(b'{"id": 7, "name": "Bolt"}\n')[:-4])
    with pytest.raises(SourceError) as raised:
        run(SHOPS)
    said = str(raised.value)
    assert f"source 'shop', file {feeds}/2026-01-05/shop-2.csv, row 2: line 3 holds the bytes e9" in said
    assert 'set sources.shop.encoding = "cp1252"' in said
    assert f"source 'depot', file {feeds}/2026-01-05/depot.jsonl.gz, row 2: the gzip is cut" in said
    assert lake.version(RAW_ITEMS) == 0  # the one that made it


def test_files_that_are_not_there(feeds: Path, run: Ingest, lake: Lake) -> None:
    missing = SHOPS.replace("feeds/{date}/shop-*", "feeds/{date}/store-*").replace("mill.parquet", "mil.parquet")
    with pytest.raises(SourceError) as raised:
        run(missing)
    said = str(raised.value)
    assert f"source 'shop', file {feeds}/{{date}}/store-*.csv: there is no feed of 2026-01-05; nor is there one of another date" in said
    assert f"source 'mill', file {feeds}/mil.parquet: there is no such file; its folder holds mill.parquet" in said
    assert lake.version(RAW_ITEMS) == 0  # the one that made it


def test_a_date_without_feed_names_the_nearest_that_have_one(
    feeds: Path, spark: "SparkSession", lake: Lake, settings_of: Callable[[str], Settings]
) -> None:
    with pytest.raises(
        SourceError, match=r"there is no feed of 2026-02-01; the nearest of 2 dates with one: 2026-01-04, 2026-01-05\n.*sources.shop.path"
    ):
        ingest.run(spark, lake, settings_of(SHOPS), Night(date(2026, 2, 1), "test"))


def test_an_address_of_no_known_kind_is_refused(run: Ingest) -> None:
    with pytest.raises(SourceError, match=r"no address that can be read.*\n.*sources\.shop\.path"):
        run(SHOPS.replace("feeds/{date}/shop-*", "gopher://shop/a"))


def test_an_address_that_cannot_be_read_is_told_without_its_key(run: Ingest) -> None:
    with pytest.raises(SourceError, match=r"no address that can be read: .*s3://\*\*\*@bucket/a\.csv") as raised:
        run(SHOPS.replace("feeds/{date}/shop-*", "s3://KEY:dark/matter@bucket/a"))
    assert "matter" not in str(raised.value)


def test_a_file_that_changes_between_its_readings_fails_the_night(
    feeds: Path, run: Ingest, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_reading = ingest.checked

    def and_then_the_supplier_goes_on(spark: "SparkSession", files: list[ingest.Part]) -> list[ingest.Part]:
        parts = first_reading(spark, files)
        with (feeds / "2026-01-05/shop-1.csv").open("a") as file:
            file.write("4,Bed\n")
        return parts

    monkeypatch.setattr(ingest, "checked", and_then_the_supplier_goes_on)
    with pytest.raises(TransientError, match=r"shop-1.csv changed while it was read"):
        run(SHOPS)
    assert lake.version(RAW_ITEMS) == 0


TABLE = """
[sources.erp]
path = "{path}"
format = "{format}"
{more}
columns = {{ id = "id", title = "title", price = "price" }}
"""


@pytest.fixture
def products(spark: "SparkSession") -> Any:
    schema = "`id` int, title string, price decimal(10,2), `odd.name` string, picture binary, sizes array<int>"
    rows = [(n, title, None, "x", bytearray(b"\x00\xff"), [1, n]) for n, title in [(2, "Chair"), (10, None), (1, "Lamp")]]
    return spark.createDataFrame(rows, schema)


def table_rows(spark: "SparkSession", settings: Settings) -> list[dict[str, Any]]:
    table = ingest.table_of(spark, "erp", settings.sources["erp"], date(2026, 1, 5))
    found = [row.asDict() for row in ingest.table_rows(table).orderBy("row").collect()]
    table.values.unpersist()
    assert [row["row"] for row in found] == list(range(1, table.part.rows + 1))
    return found


def test_delta_tables_are_numbered_by_their_values(
    products: Any, spark: "SparkSession", settings_of: Callable[[str], Settings], tmp_path: Path
) -> None:
    path = str(tmp_path / "erp")
    settings = settings_of(TABLE.format(path=path, format="delta", more=""))
    seen = []
    for table in (products.repartition(1), products.repartition(3), products.limit(1)):
        table.write.format("delta").mode("overwrite").save(path)
        seen.append(table_rows(spark, settings))
    assert seen[0] == seen[1]
    assert seen[0][0]["file_sha256"] != seen[2][0]["file_sha256"]
    common = {"odd.name": "x", "picture": "00ff"}
    assert sorted((row["values"] for row in seen[0]), key=lambda values: values["id"]) == [
        {"id": "1", "title": "Lamp", "sizes": "[1,1]"} | common,
        {"id": "10", "sizes": "[1,10]"} | common,
        {"id": "2", "title": "Chair", "sizes": "[1,2]"} | common,
    ]


def test_a_table_gives_the_values_that_its_parquet_file_gives(
    spark: "SparkSession", settings_of: Callable[[str], Settings], tmp_path: Path
) -> None:
    schema = """id double, title string, price double, weight float, stock decimal(20,10), since date, new boolean,
        picture binary, sizes array<double>, colours map<string,string>, box struct<width: double, unit: string>"""
    more = {"since": date(2026, 1, 5), "new": True, "picture": bytearray(b"\x00\xff")}
    nested = {"sizes": [1.5], "colours": {"top": "red"}, "box": (2.0, None)}
    rows = [
        {"id": 4006381333931.0, "title": "Lamp", "price": 5.0, "weight": 0.1, "stock": Decimal(0)} | more | nested,
        {"id": 1e7, "title": "Chair", "price": 12345678.9, "weight": 1e-7, "stock": Decimal("0.0000001")},
        {"id": 5.0, "title": "Bed", "price": float("nan"), "weight": 1e15, "sizes": []},
    ]
    frame = spark.createDataFrame(rows, schema)
    frame.write.format("delta").save(str(tmp_path / "erp"))
    frame.coalesce(1).write.parquet(str(tmp_path / "files"))
    delta = settings_of(TABLE.format(path=tmp_path / "erp", format="delta", more=""))
    (file,) = (tmp_path / "files").glob("*.parquet")
    parquet = settings_of(TABLE.format(path=file, format="parquet", more="")).sources["erp"]
    values = {row["values"]["title"]: row["values"] for row in table_rows(spark, delta)}
    assert values == {row.values["title"]: row.values for row in feed.rows("erp", parquet, str(file))}
    assert values["Lamp"] == {
        "id": "4006381333931",
        "title": "Lamp",
        "price": "5",
        "weight": "0.1",
        "stock": "0.0000000000",
        "since": "2026-01-05",
        "new": "true",
        "picture": "00ff",
        "sizes": "[1.5]",
        "colours": '{"top":"red"}',
        "box": '{"width":2.0,"unit":null}',
    }
    assert values["Chair"] == {"id": "10000000", "title": "Chair", "price": "12345678.9", "weight": "0.0000001", "stock": "0.0000001000"}
    assert values["Bed"] == {"id": "5", "title": "Bed", "price": "nan", "weight": "1" + 15 * "0", "sizes": "[]"}


def test_tables_that_cannot_be_read_are_named(
    products: Any, spark: "SparkSession", settings_of: Callable[[str], Settings], tmp_path: Path
) -> None:
    path = str(tmp_path / "erp")
    settings = settings_of(TABLE.format(path=path, format="delta", more=""))
    with pytest.raises(SourceError, match=f"source 'erp', file {path}: .*\n.*mend sources.erp.path"):
        table_rows(spark, settings)
    products.withColumnRenamed("title", "name").write.format("delta").save(path)
    with pytest.raises(SourceError, match=r"no column 'title'; there are 'id', 'name'.*\n.*sources.erp.columns.title"):
        table_rows(spark, settings)
    products.limit(0).write.format("delta").option("overwriteSchema", "true").mode("overwrite").save(path)
    with pytest.raises(SourceError, match="it holds no row"):
        table_rows(spark, settings)


def test_what_spark_says_of_a_table_is_told_without_the_addresss_secret(
    spark: "SparkSession", settings_of: Callable[[str], Settings], tmp_path: Path
) -> None:
    settings = settings_of(TABLE.format(path=tmp_path / "erp;token=dark matter", format="delta", more=""))
    with pytest.raises(SourceError, match=r"erp;token=\*\*\*: .*erp;token=\*\*\*.*SQLSTATE") as raised:  # and the rest of it stays
        table_rows(spark, settings)
    assert "matter" not in str(raised.value)


def test_jdbc(products: Any, run: Ingest, lake: Lake, spark: "SparkSession", tmp_path: Path) -> None:
    spark.sparkContext._jvm.java.lang.System.setProperty("derby.stream.error.file", str(tmp_path / "derby.log"))  # type: ignore[union-attr]
    url = f"jdbc:derby:{tmp_path}/erp;password=secret"
    products.select("id", "title", "price").write.jdbc(f"{url};create=true", "products")
    query = """table = '(select * from products where "id" < 10) night'"""
    counts = run(TABLE.format(path=url, format="jdbc", more=query))
    assert counts == Counts(2, 2, "rows", {"files": 1, "bytes": 0, "rows_erp": 2})
    rows = rows_of(lake)
    assert sorted(row["values"]["title"] for row in rows) == ["Chair", "Lamp"]
    assert {row["row"] for row in rows} == {1, 2}
    assert {row["file"] for row in rows} == {f'jdbc:derby:{tmp_path}/erp;password=***#(select * from products where "id" < 10) night'}
    with pytest.raises(SourceError, match=r"source 'erp'.*NOPE.*\n.*sources.erp.table") as raised:
        run(TABLE.format(path=url, format="jdbc", more='table = "nope"'))
    assert "secret" not in str(raised.value)
    with pytest.raises(SourceError, match=r"no table is named\n.*sources.erp.table"):
        run(TABLE.format(path=url, format="jdbc", more=""))
    with pytest.raises(TransientError, match=r"source 'erp'.*connect to the database.*\n.*sources.erp.path") as raised:
        run(TABLE.format(path=url.replace("/erp", "/none"), format="jdbc", more='table = "products"'))
    assert "secret" not in str(raised.value)
    with pytest.raises(SourceError, match="no column 'cost'; there are 'id', 'title', 'price'"):
        run(TABLE.replace('"price"', '"cost"').format(path=url, format="jdbc", more=query))


def test_a_missing_source_is_stood_in_for_where_the_settings_say_so(
    feeds: Path, spark: "SparkSession", lake: Lake, settings_of: Callable[[str], Settings], night: Night
) -> None:
    """With its age on record, which grows from night to night; a source that was never there cannot be stood in for."""
    for table in (RAW_ITEMS, AUDIT_RESULTS):
        lake.create(table)
    lenient = settings_of(SHOPS.replace("[sources.depot]", '[sources.depot]\nmissing = "last"'))
    nights = [Night(night.date + timedelta(days=day), "test") for day in range(3)]
    (feeds / "2026-01-05/depot.jsonl.gz").unlink()
    with pytest.raises(SourceError, match=r"source 'depot', .*: there is no feed of 2026-01-05"):
        ingest.run(spark, lake, lenient, nights[0])
    ingest.run(spark, lake, lenient, Night(night.date - timedelta(days=1), "test"))
    for later in nights[1:]:
        shutil.copytree(feeds / "2026-01-05", feeds / str(later.date))
    for days, one in enumerate(nights, start=1):
        counts = ingest.run(spark, lake, lenient, one)
        assert counts.note == "of an earlier night those of depot"
        rows = lake.read(RAW_ITEMS, one).where("source = 'depot'").orderBy("row").collect()
        assert [row["values"] for row in rows] == [{"id": "7", "name": "Bolt", "sizes": "[6,8]"}, {"": "broken"}]
        checks = {row["check"]: (row["grade"], row["figure"]) for row in lake.read(AUDIT_RESULTS, one).collect()}
        assert checks == {
            "feeds: days depot is missing": ("fail", days),
            "feeds: days mill is unchanged": ("warn", days),
            "feeds: days shop is unchanged": ("warn", days),
        }
    with pytest.raises(SourceError, match=r"source 'depot', .*: there is no feed of 2026-01-05"):
        ingest.run(spark, lake, settings_of(SHOPS), nights[0])


def test_a_feed_that_has_changed_is_fresh(
    feeds: Path, spark: "SparkSession", lake: Lake, settings_of: Callable[[str], Settings], night: Night
) -> None:
    """Also where it was the same before: what counts is since when it has been what it is."""
    for table in (RAW_ITEMS, AUDIT_RESULTS):
        lake.create(table)
    text = MINIMAL.replace("feeds/{date}/shop.csv", "feeds/{date}/shop-1.csv")
    found = []
    for day, title in enumerate(["Lamp", "Desk", "Lamp", "Lamp"]):
        one = Night(night.date + timedelta(days=day), "test")
        (feeds / str(one.date)).mkdir(exist_ok=True)
        (feeds / str(one.date) / "shop-1.csv").write_text(f"id,title\n1,{title}\n", encoding="utf-8")
        ingest.run(spark, lake, settings_of(text), one)
        found += [row["figure"] for row in lake.read(AUDIT_RESULTS, one).collect()]
    assert found == [0, 0, 0, 1]
