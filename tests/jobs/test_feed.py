"""Rows of one file: what every format gives, the shape faults that stay with a row, and the faults that refuse a file."""

import gzip
import json
import re
from collections import deque
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import feed
from jobs.errors import SourceError
from jobs.feeds import Columns, Source

COLUMNS = Columns(id="id", title="title", price="price")
CSV = b"id,title,price\n1,Lamp,5\n2,Chair,6\n"
JSON = b'[{"id": 1, "title": "Lamp", "price": 5}, {"id": 2, "title": "Chair", "price": 6}]'
SAME = [{"id": "1", "title": "Lamp", "price": "5"}, {"id": "2", "title": "Chair", "price": "6"}]


def source(**options: Any) -> Source:
    return Source(path="unused", **({"columns": COLUMNS} | options))


def read(folder: Path, data: bytes, name: str = "feed", **options: Any) -> list[feed.Row]:
    file = folder / name
    file.write_bytes(data)
    return list(feed.rows("shop", source(**options), str(file)))


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (CSV, {}),
        (CSV.replace(b"\n", b"\r\n"), {}),
        (b"\xef\xbb\xbf" + CSV, {}),  # a byte order mark
        (CSV.decode().encode("utf-16"), {"encoding": "utf-16"}),
        (CSV.replace(b",", b";"), {"separator": ";"}),
        (b'"id","title","price"\n"1","Lamp","5"\n"2","Chair","6"', {}),
        (b"\n" + JSON + b"\n", {"format": "json"}),
        (b"\xef\xbb\xbf" + JSON, {"format": "json"}),
        (JSON[1:-1].replace(b"}, {", b"}\r\n\r\n{"), {"format": "jsonl"}),  # with a blank line
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_every_text_format_gives_the_same_rows(tmp_path: Path, data: bytes, options: dict[str, str], zipped: bool) -> None:
    rows = read(tmp_path, gzip.compress(data), "feed.gz", **options) if zipped else read(tmp_path, data, **options)
    assert rows == [feed.Row(number, values, None) for number, values in enumerate(SAME, 1)]


def test_parquet_values_come_as_text(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": pa.array([1, None], pa.int64()),
            "title": pa.array(["Lamp", "Chair"]).dictionary_encode(),
            "price": pa.array([Decimal("5.10"), None]),
            "new": [True, False],
            "since": [date(2026, 1, 5), None],
            "ean": [["12", "13"], None],
            "size": [{"w": 1.5}, None],
            "picture": [b"\x00\xff", None],
        }
    )
    pq.write_table(table, tmp_path / "feed.parquet", row_group_size=1)
    first, second = feed.rows("shop", source(format="parquet"), str(tmp_path / "feed.parquet"))
    assert first == feed.Row(
        1,
        {
            "id": "1",
            "title": "Lamp",
            "price": "5.10",
            "new": "true",
            "since": "2026-01-05",
            "ean": '["12","13"]',
            "size": '{"w":1.5}',
            "picture": "00ff",
        },
        None,
    )
    assert second == feed.Row(2, {"title": "Chair", "new": "false"}, None)


def test_json_values_come_as_they_are_written(tmp_path: Path) -> None:
    written = b'{"id": 0012.0e1, "title": "caf\\u00e9 \\"x\\"", "a": null, "b": true, "c": [1.0, {"d": "\xc3\xa9"}], "e": ""}'.replace(
        b"0012", b"12"
    )
    expected = {"id": "12.0e1", "title": 'café "x"', "b": "true", "c": '[1.0,{"d":"é"}]', "e": ""}
    assert read(tmp_path, b"[" + written + b"]", format="json") == [feed.Row(1, expected, None)]
    assert read(tmp_path, written, format="jsonl") == [feed.Row(1, expected, None)]


@pytest.mark.parametrize(
    ("row", "values", "fault"),
    [
        (b"1,Lamp", {"id": "1", "title": "Lamp"}, "2 fields under a header of 3"),
        (b"1,Lamp,5,6,7", {"id": "1", "title": "Lamp", "price": "5", "+4": "6", "+5": "7"}, "5 fields under a header of 3"),
        (b'1,"a "b" c",5', {"": '1,"a "b" c",5\n'}, "a quote inside a quoted value that is not doubled"),
        (b"1,a\rb,5", {"": "1,a\rb,5\n"}, "a carriage return outside quotes"),
        (b'1,"a\nb ""c""",5', {"id": "1", "title": 'a\nb "c"', "price": "5"}, None),
        (b"1,,", {"id": "1", "title": "", "price": ""}, None),  # nothing between separators is an empty text, as it came
        (b"1,a\0b\x07,5", {"id": "1", "title": "a\0b\x07", "price": "5"}, None),
        (b"1," + b"x" * 200_000 + b",5", {"id": "1", "title": "x" * 200_000, "price": "5"}, None),
    ],
)
def test_shape_of_a_csv_row(tmp_path: Path, row: bytes, values: dict[str, str], fault: str | None) -> None:
    assert read(tmp_path, b"id,title,price\n" + row + b"\n2,Chair,6\n") == [feed.Row(1, values, fault), feed.Row(2, SAME[1], None)]


def test_quotes_may_be_ordinary_characters(tmp_path: Path) -> None:
    assert read(tmp_path, b'id,title,price\n1,"Lamp,5\n', quote="") == [feed.Row(1, {"id": "1", "title": '"Lamp', "price": "5"}, None)]


def test_a_column_without_a_name_is_named_by_its_place(tmp_path: Path) -> None:
    assert read(tmp_path, b"id,title,,price,\n1,Lamp,a,5,b\n")[0].values == {"id": "1", "title": "Lamp", "+3": "a", "price": "5", "+5": "b"}


@pytest.mark.parametrize(
    ("line", "values", "fault"),
    [
        (b'{"id": 1', {"": '{"id": 1'}, "the line is not a JSON object"),
        (b'["id", 1]', {"": '["id", 1]'}, "the line is not a JSON object"),
        (b"[" * 100_000, {"": "[" * 100_000}, "the line is not a JSON object"),
        (b'{"id": 1, "title": "\\ud83d"}', {"id": "1", "title": "\\ud83d"}, "half a surrogate pair, which is no character"),
        (b'{"id": ' + b"9" * 6000 + b', "title": "a\tb"}', {"id": "9" * 6000, "title": "a\tb"}, None),
    ],
)
def test_shape_of_a_json_line(tmp_path: Path, line: bytes, values: dict[str, str], fault: str | None) -> None:
    rows = read(tmp_path, b'{"id": 1, "title": "Lamp"}\n' + line + b"\n", format="jsonl")
    assert rows[1:] == [feed.Row(2, values, fault)]


LINES = JSON[1:-1].replace(b"}, {", b"}\n{")
ANY = -1  # where the row depends on how gzip was written
MANY = b"id,title,price\n" + b"".join(b"%d,Lamp %d,5\n" % (number, number) for number in range(100_000))
REFUSED = [
    # what is wrong, the file, its settings -> the row, what the message holds, what the remedy holds
    ("empty", b"", {}, None, "it is empty", "whole"),
    ("empty once unzipped", gzip.compress(b""), {"name": "a.csv.gz"}, None, "it is empty", "whole"),
    ("only a byte order mark", b"\xef\xbb\xbf", {}, None, "it is empty", "whole"),
    ("header only", b"id,title,price\n", {}, None, "it holds no row", "whole"),
    (
        "undecodable",
        b"id,title,price\n1,Lamp,5\n2,Bose\xae,6\n",
        {},
        2,
        "line 3 holds the bytes ae, which are not utf-8; cp1252 reads them as in “2,Bose®,6”",
        'sources.shop.encoding = "cp1252"',
    ),
    ("undecodable, far in", MANY + b"\xae", {}, 100_001, "line 100002", 'sources.shop.encoding = "cp1252"'),
    ("undecodable header", b"id,title,pr\xefx\n1,a,5\n", {}, 1, "line 1 holds the bytes ef", 'sources.shop.encoding = "cp1252"'),
    ("utf-16", CSV.decode().encode("utf-16"), {}, 1, "not utf-8", 'sources.shop.encoding = "utf-16"'),
    ("no such encoding", CSV, {"encoding": "cp-1252"}, None, "there is no encoding 'cp-1252'", "sources.shop.encoding"),
    ("separator", CSV.replace(b",", b"\t"), {}, None, r"separated by '\t', not ','", r'sources.shop.separator = "\t"'),
    ("separator, quoted", b'"id";"title";"price"\n"1";"Lamp";"5"\n', {}, None, "separated by ';'", 'sources.shop.separator = ";"'),
    (
        "mapped column",
        b"ID,titel,price\n1,Lamp,5\n",
        {},
        None,
        "no column 'id', 'title'; there are 'ID', 'titel', 'price'",
        'sources.shop.columns.id = "ID"; set sources.shop.columns.title = "titel"',
    ),
    (
        "mapped column like one of another field",
        b"artnr,title,price\n1,Lamp,5\n",
        {"columns": {"id": "titel", "title": "title"}},
        None,
        "no column 'titel'; there are 'artnr', 'title', 'price'",
        "set sources.shop.columns.id to the right one",
    ),
    ("repeated column", b"id,title,price,title\n1,a,5,b\n", {}, None, "names 'title' more than once", "rename"),
    ("old Mac lines", CSV.replace(b"\n", b"\r"), {}, None, "the header cannot be split", "LF or CRLF"),
    (
        "quote not closed",
        b'id,title,price\n1,Lamp,5\n2,"Chair,6\n3,Bed,7\n',
        {},
        2,
        'a quote is opened and not closed again, in the row that begins “2,"Chair,6”',
        'sources.shop.quote = ""',
    ),
    ("cut gzip", gzip.compress(MANY)[:-200], {"name": "a.csv.gz"}, ANY, "the gzip is cut", "whole"),
    ("no gzip", CSV, {"name": "a.csv.gz"}, 1, "the gzip is damaged, or none", "take .gz off"),
    ("damaged gzip", gzip.compress(CSV)[:-8] + b"\0" * 8, {"name": "a.csv.gz"}, ANY, "the gzip is damaged", "whole"),
    ("cut JSON", JSON[:-20], {"format": "json"}, 2, "the JSON is cut inside this row", "whole"),
    ("cut JSON between rows", JSON[:-1], {"format": "json"}, 3, "the closing ] is missing", "whole"),
    (
        "broken JSON",
        JSON.replace(b'2, "title"', b'2  "title"'),
        {"format": "json"},
        2,
        "not a JSON array of objects: Expecting ','",
        'format = "jsonl"',
    ),
    ("JSON object", JSON[1:-1], {"format": "json"}, 1, "does not begin with [", 'sources.shop.format = "jsonl"'),
    ("JSON array of texts", b'["id", "title"]', {"format": "json"}, 1, "an object is expected, found id", "array of objects"),
    ("empty JSON array", b"[ ]", {"format": "json"}, None, "it holds no row", "whole"),
    (
        "JSON without titles",
        JSON.replace(b"title", b"Title"),
        {"format": "json"},
        None,
        "no column 'title'; there are 'id', 'Title', 'price'",
        'sources.shop.columns.title = "Title"',
    ),
    ("cut JSON lines", LINES[:-20], {"format": "jsonl"}, 2, 'the last line is cut: it ends in “{"id": 2, "title": ”', "whole"),
    ("JSON array as lines", JSON, {"format": "jsonl"}, None, "it begins with [", 'sources.shop.format = "json"'),
    ("JSON lines without ids", LINES.replace(b'"id"', b'"key"'), {"format": "jsonl"}, None, "no column 'id'", "sources.shop.columns.id"),
    ("blank JSON lines", b"\n\n", {"format": "jsonl"}, None, "it holds no row", "whole"),
    ("no Parquet", CSV, {"format": "parquet"}, None, "not a whole Parquet file", "sources.shop.format"),
]


@pytest.mark.parametrize(("data", "options", "row", "found", "remedy"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refused_files(tmp_path: Path, data: bytes, options: dict[str, str], row: int | None, found: str, remedy: str) -> None:
    with pytest.raises(SourceError) as raised:
        read(tmp_path, data, **options)
    error = raised.value
    assert found in error.found
    assert remedy in error.remedy
    assert error.found.startswith(f"source 'shop', file {tmp_path}/")
    assert re.search({None: r"/[\w.]+: ", ANY: r", row \d+: "}.get(row, f", row {row}: "), error.found)


def test_parquet_is_refused_where_it_is_empty_cut_or_lacks_a_column(tmp_path: Path) -> None:
    file = tmp_path / "feed.parquet"
    pq.write_table(pa.table({"id": ["1"], "titel": ["Lamp"], "price": ["5"]}), file)
    with pytest.raises(SourceError, match="no column 'title'"):
        list(feed.rows("shop", source(format="parquet"), str(file)))
    pq.write_table(pa.table({name: pa.array([], pa.string()) for name in ("id", "title", "price")}), file)
    with pytest.raises(SourceError, match="it holds no row"):
        list(feed.rows("shop", source(format="parquet"), str(file)))
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(SourceError, match="not a whole Parquet file"):
        list(feed.rows("shop", source(format="parquet"), str(file)))


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=f"file {tmp_path}/gone.csv: .*\n.*mend sources.shop.path"):
        list(feed.rows("shop", source(), str(tmp_path / "gone.csv")))


def test_rows_before_the_fault_come(tmp_path: Path) -> None:
    file = tmp_path / "feed.json.gz"
    file.write_bytes(gzip.compress(json.dumps([{"id": number, "title": "x" * 1000} for number in range(2000)]).encode())[:-100])
    read = feed.rows("shop", source(format="json"), str(file))
    assert [next(read).number for _ in range(100)] == list(range(1, 101))
    with pytest.raises(SourceError, match=r", row \d{3,}: the gzip is cut"):
        deque(read, maxlen=0)
