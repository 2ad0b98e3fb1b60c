"""Two items of a small night explained: against what is published of them, in lines and as a picture, and what is refused."""

import re
from datetime import date
from pathlib import Path

import pytest

from jobs import sql
from jobs.cli import main
from jobs.errors import SettingsError
from jobs.explain import Explained, Field, explain, place, shown, told
from jobs.explanation import Channel
from jobs.picture import drawn
from jobs.settings import Settings
from tests.small_night import NIGHT, PRODUCTS, K, publish, settings_of


@pytest.fixture(scope="module")
def settings(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return publish(tmp_path_factory.mktemp("small"), tiny_model)


@pytest.fixture(scope="module")
def lamp(settings: Settings) -> Explained:
    return explain(settings, "oak", "lamp", NIGHT)


def parts(channels: tuple[Channel, ...]) -> dict[str, float | None]:
    return {channel.name: channel.part for channel in channels}


@pytest.mark.parametrize(("mine", "rank"), [("oak", 1), ("pot", K), ("sofa", 2)])
def test_parts_similarity_and_ranks_are_those_that_are_published(settings: Settings, mine: str, rank: int) -> None:
    query = "SELECT neighbour_id, similarity, parts FROM neighbours WHERE item_id = ? AND rank = ?"
    connection = sql.connect(settings)
    ((theirs, similarity, published),) = sql.rows(connection, query, mine, rank)
    found = explain(settings, mine, theirs)
    assert found.explanation.similarity == similarity
    assert parts(found.explanation.channels) == published
    assert [(one.item_id, one.of, one.length) for one in found.listed] == [(theirs, mine, K), (mine, theirs, K)]
    assert found.listed[0].rank == rank
    back = sql.rows(connection, "SELECT rank FROM neighbours WHERE item_id = ? AND neighbour_id = ?", theirs, mine)
    assert [(one,) for one in (found.listed[1].rank,) if one] == back


def test_fields_are_put_side_by_side(lamp: Explained) -> None:
    fields = {field.name: field for field in lamp.fields}
    assert fields["title"] == Field("title", "Oak desk 120 cm", "Desk lamp LX-200")
    assert fields["price"] == Field("price", "199.00", None)
    assert fields["source"].same
    assert "category" not in fields  # neither has one


def test_it_is_told_in_lines(lamp: Explained, settings: Settings) -> None:
    lines = told(lamp)
    assert lines.startswith("oak and lamp, night 2026-01-05\nsimilarity 0.")
    assert re.search(r"^semantic +0\.\d{4} +0\.400 +0\.400 +0\.\d{4}$", lines, re.MULTILINE)
    assert re.search(r"^lexical is of (titles|all fields): titles 0\.\d{4}, all fields 0\.\d{4}$", lines, re.MULTILINE)
    assert re.search(r"^ *\d+\.\d%  desk$", lines, re.MULTILINE)
    assert re.search(r"^≠ price +199\.00 +–$", lines, re.MULTILINE)
    assert re.search(r"^= source +shop$", lines, re.MULTILINE)
    codes = told(explain(settings, "kettle", "pot"))
    assert re.search(r"what carries the codes\n +\d+\.\d%  1\.5l?\n +\d+\.\d%  1\.5l?\n", codes)  # 1,5 l and 1.5 l


def test_the_command_prints_and_draws(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = Path(settings.lake.root).parent / "shelfmates.toml"
    main(["explain", "oak", "pine", "--picture", str(tmp_path / "why.png"), "--settings", str(file)])
    assert capsys.readouterr().out.startswith("oak and pine, night 2026-01-05\n")
    assert (tmp_path / "why.png").is_file()


def test_a_similarity_that_was_published_otherwise_is_told(tiny_model: Path, tmp_path: Path, settings: Settings) -> None:
    weighed = settings.model_copy(
        update={
            "neighbours": settings.neighbours.model_copy(update={"weights": settings.neighbours.weights.model_copy(update={"codes": 5.0})})
        }
    )
    found = explain(weighed, "pine", "oak")
    assert "published with 0." in place(found.listed[0], found.explanation.similarity)
    assert "items or settings have changed since" in told(found)


def test_long_values_are_shown_where_they_differ() -> None:
    same = "a long beginning that both have, word for word, "
    assert shown(Field("description", same + "red", same + "blue"), 30) == (
        "…oth have, word for word, red",
        "…oth have, word for word, blue",
    )
    assert shown(Field("description", same, same), 20) == ("a long beginning th…", "a long beginning th…")
    assert shown(Field("title", "red", None), 20) == ("red", "–")


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_picture_is_drawn(lamp: Explained, tmp_path: Path, suffix: str) -> None:
    drawn(lamp, tmp_path / f"why.{suffix}")
    assert (tmp_path / f"why.{suffix}").stat().st_size > 10_000


def test_a_picture_of_hostile_values_and_of_nothing_shared(settings: Settings, tmp_path: Path) -> None:
    """Dollars are no mathematics, and letters that the font lacks no error."""
    found = explain(settings, "cup", "tray")
    fields = (Field("title", "$x_1$ 茶 " * 40, "\\frac{1}{0} $"), *found.fields)
    silent = found.explanation.__class__(None, found.explanation.channels, "titles", {"titles": 0.0}, (), ())
    drawn(Explained(found.night, ("c$u$p" * 30, "tray"), silent, fields, found.listed), tmp_path / "why.png")
    assert (tmp_path / "why.png").is_file()


@pytest.mark.parametrize("name", ["why.exe", "absent/why.png"])
def test_a_picture_that_cannot_be_written_is_told(lamp: Explained, tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=rf"the picture .*{name} cannot be written: .*\n  → name another file"):
        drawn(lamp, tmp_path / name)


@pytest.mark.parametrize(
    ("items", "night", "said"),
    [
        (("oak", "oak"), None, r"both items are oak\n  → give the ids of two"),
        (
            ("oak", "yew"),
            None,
            r"the night 2026-01-05 knows no item 'yew'; its ids read like 'beech'\n  → find one with `shelfmates similar`",
        ),
        (("oak", "pine"), date(2026, 2, 1), r"--date 2026-02-01: this night is not published\n"),
    ],
)
def test_what_cannot_be_explained(settings: Settings, items: tuple[str, str], night: date | None, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        explain(settings, *items, night)


def test_all_of_the_night_can_be_explained_without_a_published_list(tiny_model: Path, tmp_path: Path) -> None:
    from deltalake import DeltaTable

    settings = publish(tmp_path, tiny_model)
    DeltaTable(settings.lake.root + "/neighbours").delete("item_id = 'oak'")
    assert "oak has no published list" in told(explain(settings, "oak", next(name for name in PRODUCTS if name != "oak")))
    assert settings_of(tmp_path, tiny_model) == settings
