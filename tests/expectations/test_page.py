"""The verdict page: what it says, that nothing of a feed can become markup, and that it needs no network."""

from datetime import date
from pathlib import Path

import pytest

from expectations import page
from expectations.suite import Result

NIGHT = date(2026, 1, 5)
MET = Result("raw_items: rows", "fail", True, 12345.0, ">= 1", "because", "shop")
WARNED = Result("raw_items: title_length", "warn", False, 3.25, ">= 5", "because", "shop")
HELD = Result("raw_items: quarantined_share", "fail", False, 0.75, "<= 0.5", "because", "shop")
UNMEASURED = Result("raw_items: price_share", "warn", True, None, ">= 0.1", "because", "all")
FIGURES = [{"group": "shop", "rows": 12345.0, "quarantined": 1.0}, {"group": "empty", "rows": 0.0, "quarantined": 0.0}]


@pytest.mark.parametrize(
    ("results", "verdict"),
    [
        ([MET, UNMEASURED], '<p class="good">Passed.</p>'),
        ([MET, WARNED], "Passed, with 1 warning."),
        ([MET, WARNED, HELD], "Held: 1 of the expectations"),
    ],
)
def test_verdict(results: list[Result], verdict: str) -> None:
    assert verdict in page.html(NIGHT, "run", results, FIGURES, [])


def test_what_is_not_met_comes_first() -> None:
    shown = page.html(NIGHT, "run", [MET, UNMEASURED, WARNED, HELD], FIGURES, [])
    places = [shown.index(name) for name in ("quarantined share", "title length", "<td>rows", "price share")]
    assert places == sorted(places)
    assert "not measured" in shown


def test_a_feed_cannot_write_markup() -> None:
    example = page.Example("<i>.csv", 1, '{"t": "<script>alert(1)</script>"}')
    shown = page.html(NIGHT, "<run>", [MET], FIGURES, [page.Refusal("<shop>", "<why>", 2, [example])])
    assert not {"<script", "<i>", "<run>", "<shop>", "<why>"} & {
        piece for piece in ("<script", "<i>", "<run>", "<shop>", "<why>") if piece in shown
    }
    assert "http" not in shown
    assert "2 rows" in shown


def test_write_replaces_the_nights_page(tmp_path: Path) -> None:
    docs = str(tmp_path / "docs")
    page.write(docs, NIGHT, "first")
    address = page.write(docs, NIGHT, "second")
    assert Path(address).read_text(encoding="utf-8") == "second"
    assert page.write((tmp_path / "docs").as_uri(), NIGHT, "third").startswith("file://")
    assert Path(address).read_text(encoding="utf-8") == "third"


@pytest.mark.parametrize("docs", ["s3a://bucket/docs", "nothing://docs", "{folder}/file/docs"])
def test_where_no_page_can_be_written(docs: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    docs = docs.format(folder=tmp_path)
    with pytest.raises(page.PageError, match=f"the page of 2026-01-05 cannot be written to {docs}: "):
        page.write(docs, date(2026, 1, 5), "page")
