"""What is most like a text or an item of a small night: by command, in SQL, and what is refused."""

import io
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from jobs import encoder, fusion, sql
from jobs.cli import main
from jobs.errors import ContractError, SettingsError, ShelfmatesError
from jobs.settings import Settings
from jobs.similar import Shelf, answers, shelf_of
from jobs.tables import PARTS
from tests.dags.explorer_lake import write
from tests.small_night import NIGHT, PRODUCTS, K, columns, compared, publish, settings_of


@pytest.fixture(scope="module")
def settings(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return publish(tmp_path_factory.mktemp("small"), tiny_model)


@pytest.fixture(scope="module")
def shelf(settings: Settings) -> Shelf:
    return shelf_of(settings)


def test_the_most_similar_of_an_item_are_those_that_are_published(shelf: Shelf, settings: Settings) -> None:
    query = "SELECT rank, neighbour_id, similarity, parts FROM neighbours WHERE item_id = ? ORDER BY rank"
    connection = sql.connect(settings)
    for item_id in PRODUCTS:
        found = shelf.similar(item_id, K)
        assert [(row.rank, row.item_id, row.similarity, row.parts) for row in found] == sql.rows(connection, query, item_id)
        assert [row.title for row in found] == [PRODUCTS[row.item_id][0] for row in found]
    assert (found[0].currency, found[0].price is None) == ("EUR", False)


def test_a_text_is_read_as_a_title_and_nothing_else(shelf: Shelf, tiny_model: Path) -> None:
    of, reading = compared(tiny_model)
    query = "oak  <b>desk</b> LX200"
    read = columns().slice(0, 1).to_pylist()[0] | dict.fromkeys(("title", "fields"), "oak desk LX200")
    vector = encoder.in_float32(tiny_model, "cpu").encode(["oak desk LX200"]).vectors
    asked = fusion.items(vector, columns().from_pylist([read], columns().schema), reading)
    truth = fusion.compared(asked, of, reading.weights)[0]
    found = shelf.similar(query, len(PRODUCTS))
    names = sorted(PRODUCTS)
    assert [row.similarity for row in found] == pytest.approx([truth[names.index(row.item_id)] for row in found], abs=1e-5)
    assert [row.similarity for row in found] == sorted((row.similarity for row in found), reverse=True)
    assert sorted(row.item_id for row in found) == names


def test_the_second_command_finds_the_index_of_the_first(settings: Settings, shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    assert shelf_of(settings).similar("oak", 3) == shelf.similar("oak", 3)
    assert "read for the first time" not in capsys.readouterr().err
    assert len([one for one in Path(settings.search.index).iterdir() if one.is_dir()]) == 1


def test_an_index_is_made_anew_where_anything_that_decides_has_changed(tiny_model: Path, tmp_path: Path) -> None:
    before = shelf_of(publish(tmp_path, tiny_model))
    weighed = settings_of(tmp_path, tiny_model, "[neighbours]\nweights = { semantic = 0, codes = 0 }")
    assert shelf_of(weighed).snapshot.key != before.snapshot.key
    assert shelf_of(weighed).similar("desk lamp lx-200", 1)[0].item_id == "lamp"  # which takes no encoder
    (content_hash,) = before.snapshot.items("cup")["content_hash"].to_pylist()
    late = {"snapshot_date": NIGHT, "item_id": "late", "source": "shop", "title": "Cup", "attributes": {}, "text": "Cup", "folded": 0}
    write(tmp_path / "lake", "clean_items", [late | {"content_hash": content_hash}])
    assert [row.item_id for row in shelf_of(before.snapshot.settings).similar("cup", 1)] == ["late"]


def test_answers_as_table_csv_and_json(shelf: Shelf) -> None:
    table = next(answers(shelf, ["lamp"], 2, "table"))
    assert table.splitlines()[0] == "lamp (night 2026-01-05)"
    assert table.splitlines()[1].split() == ["rank", "item_id", "similarity", "semantic", "lexical", "codes", "title", "brand", "price"]
    assert len(table.splitlines()) == 4
    one, two = answers(shelf, ["oak", "cup"], 1, "csv")
    assert one.splitlines()[0] == "query,rank,item_id,similarity,parts,title,brand,price,currency"
    assert one.splitlines()[1].startswith("oak,1,pine,0.")
    assert two.startswith("cup,1,")
    (told,) = (json.loads(line) for line in answers(shelf, ["oak"], 1, "json"))
    assert told["query"] == "oak"
    assert (told["similar"][0]["item_id"], told["similar"][0]["price"]) == ("pine", 149.0)
    assert set(told["similar"][0]["parts"]) == set(PARTS)


def test_what_can_be_compared_with_nothing_is_told(tiny_model: Path, tmp_path: Path) -> None:
    spelt = publish(tmp_path, tiny_model, "[neighbours]\nweights = { semantic = 0, codes = 0 }")
    assert "nothing in it can be compared" in next(answers(shelf_of(spelt), ["🙂"], 3, "table"))


def test_the_command_reads_queries_from_standard_input(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("oak\n\n  cup \n"))
    file = Path(settings.lake.root).parent / "shelfmates.toml"
    main(["similar", "-", "--k", "1", "--format", "json", "--settings", str(file)])
    assert [json.loads(line)["query"] for line in capsys.readouterr().out.splitlines()] == ["oak", "cup"]


def test_it_is_a_table_of_sql(settings: Settings, shelf: Shelf) -> None:
    query = """SELECT s.rank, s.item_id, s.parts.lexical AS lexical, s.price, c.description
        FROM similar('oak', k := 2) s JOIN clean_items c USING (item_id) ORDER BY rank"""
    found = json.loads(sql.answer(settings, query, form="json"))
    expected = shelf.similar("oak", 2)
    assert [(row["rank"], row["item_id"]) for row in found] == [(row.rank, row.item_id) for row in expected]
    assert found[0]["lexical"] == pytest.approx(expected[0].parts["lexical"])
    assert (found[0]["price"], found[0]["description"]) == ("149.00", "A desk of pine for small rooms")
    each = "SELECT c.item_id, s.item_id AS other FROM clean_items c, similar(c.item_id, k := 1) s WHERE c.item_id IN ('oak', 'cup')"
    assert len(json.loads(sql.answer(settings, each, at=NIGHT.isoformat(), form="json"))) == 2


@pytest.mark.parametrize(
    ("query", "at", "error", "said"),
    [
        ("SELECT * FROM similar(' ')", None, SettingsError, r"the query is empty\n  → write a title"),
        ("SELECT * FROM similar('oak', k := 0)", None, SettingsError, r"k is 0\n"),
        ("SELECT * FROM similar('shop:nope')", None, SettingsError, r"there is no item shop:nope in the night of 2026-01-05\n"),
        ("SELECT * FROM similar('oak')", "2026-02-01", SettingsError, r"--date 2026-02-01: this night is not published\n"),
        ("SELECT * FROM similar('oak')", "0", SettingsError, r"--at 0: similar\(\) looks at a night, not at a version\n"),
    ],
)
def test_sql_tells_an_error_as_the_command_does(
    settings: Settings, query: str, at: str | None, error: type[ShelfmatesError], said: str
) -> None:
    with pytest.raises(error, match=said):
        sql.answer(settings, query, at=at)


def test_another_encoder_is_refused(settings: Settings, settings_of: Callable[[str], Settings], tmp_path: Path) -> None:
    from tests.tiny_encoder import save_table

    other = settings.model_copy(update={"embed": settings.embed.model_copy(update={"model": str(save_table(tmp_path / "other"))})})
    with pytest.raises(
        SettingsError, match=r"neighbours of 2026-01-05 are made of vectors of model@\w+, and embed.model is other@\w+\n  → set"
    ):
        shelf_of(other)


@pytest.mark.parametrize("night", [None, NIGHT])
def test_no_night_is_published(tiny_model: Path, tmp_path: Path, night: date | None) -> None:
    settings = settings_of(tmp_path, tiny_model)
    write(tmp_path / "lake", "neighbours", [])
    with pytest.raises(ContractError, match=r"no night is published under .*\n  → run one first"):
        shelf_of(settings, night)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("clean_items", r"clean_items has no items of 2026-01-05 any more\n  → name a later night"),
        ("item_vectors", r"\d+ of 12 items of 2026-01-05 have no vector of model@\w+\n  → run embed"),
        ("lexicons", r"there is no lexicon of title, brand, model, description; 1000 characters for 11 texts\n  → run weigh"),
    ],
)
def test_what_is_not_there_any_more_is_told(tiny_model: Path, tmp_path: Path, table: str, said: str) -> None:
    from deltalake import DeltaTable

    settings = publish(tmp_path, tiny_model)
    DeltaTable(str(tmp_path / "lake" / table)).delete()
    with pytest.raises(ContractError, match=said):
        shelf_of(settings)
