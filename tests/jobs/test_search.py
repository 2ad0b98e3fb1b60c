"""Exact search for one query against comparing all pairs, and the index as it comes back from the disk."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import fusion, index
from jobs.errors import ToolchainError
from jobs.kernel import NONE
from jobs.pool import workers
from jobs.search import Index, chosen
from tests.jobs.test_fusion import ALL, WEIGHTS, catalogue, offers, reading
from tests.readings import columns

COUNT = 90


def index_of(count: int = COUNT, weights: np.ndarray = ALL, seed: int = 0, twice: bool = False) -> Index:
    """Of a made-up catalogue; `twice` has every item of its second half once more, which makes ties."""
    vectors, titles, fields = catalogue(count, seed)
    places = np.arange(count) % (count // 2) if twice else np.arange(count)
    read = pa.table(columns(titles, fields, offers(count, seed))).take(places).combine_chunks()
    return Index.of(vectors[places], read, reading(fields, weights))


def expected(of: Index, item: int, k: int) -> fusion.Near:
    """What the nightly stage finds where it compares an item with all others."""
    items = fusion.items(of.sought.vectors, of.columns, of.reading)
    candidates = np.full((len(of), len(of) - 1), NONE, dtype=np.int32)
    candidates[item] = [other for other in range(len(of)) if other != item]
    with workers(1) as pool:
        near = fusion.settled(items, of.reading.weights, np.array([item]), candidates, k, pool)
    return fusion.Near(*(getattr(near, name)[[item]] for name in ("positions", "similarities", "parts")))


def check_same(found: fusion.Near, truth: fusion.Near) -> None:
    np.testing.assert_array_equal(found.positions, truth.positions)
    np.testing.assert_array_equal(found.similarities, truth.similarities)
    np.testing.assert_array_equal(found.parts, truth.parts)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, COUNT - 1), st.integers(1, 120), st.sampled_from([ALL, WEIGHTS, np.array([0, 1, 0, 0, 0], np.float32)]), st.booleans()
)
def test_it_finds_what_comparing_all_pairs_finds(item: int, k: int, weights: np.ndarray, twice: bool) -> None:
    """To the last digit, equal ones in the same order."""
    of = index_of(weights=weights, twice=twice)
    check_same(of.nearest_of(item, k), expected(of, item, k))


def test_a_query_that_is_none_of_them_is_compared_with_all() -> None:
    of = index_of()
    found = of.nearest(of.sought.vectors[7], of.columns.slice(7, 1), COUNT)
    assert found.positions[0, 0] == 7
    assert found.similarities[0, 0] == 1
    without = found.positions[0] != 7
    check_same(
        of.nearest_of(7, COUNT - 1), fusion.Near(*(getattr(found, name)[:, without] for name in ("positions", "similarities", "parts")))
    )


def test_what_cannot_be_compared_is_not_found() -> None:
    of = index_of(weights=np.array([0, 1, 0, 0, 0], np.float32))
    silent = pa.table(columns(["🙂"], ["🙂"]))
    found = of.nearest(np.zeros(8, np.float32), silent, 3)
    assert found.positions.tolist() == [[NONE, NONE, NONE]]
    assert np.isnan(found.parts).all()


def test_those_that_rounding_may_have_put_behind_are_chosen_too() -> None:
    near = np.array([0.5, 0.9, 0.5, 0.5 - 5e-6, 0.4, -np.inf], np.float32)
    assert chosen(near, 2).tolist() == [0, 1, 2, 3]
    assert chosen(near, 6).tolist() == [0, 1, 2, 3, 4]
    assert chosen(near[:0], 3).tolist() == []


@pytest.mark.parametrize("bare", [False, True])
def test_an_index_comes_back_from_the_disk_as_it_was(tmp_path: Path, bare: bool) -> None:
    vectors, titles, fields = catalogue(COUNT)
    fields = titles if bare else fields
    of = Index.of(vectors, pa.table(columns(titles, fields, offers(COUNT))), reading(fields, ALL))
    shown, made = pa.table({"item_id": [f"i{n:02}" for n in range(COUNT)]}), []

    def make() -> tuple[Index, pa.Table]:
        made.append(True)
        return of, shown

    for _ in range(2):
        found, items = index.stored(tmp_path / "search", "2026-01-05-0123456789ab", make, lambda dimension: of.reading)
        assert items == shown
        assert found.columns == of.columns
        for item in range(0, COUNT, 9):
            check_same(found.nearest_of(item, 10), of.nearest_of(item, 10))
    assert made == [True]
    names = {file.name for file in (tmp_path / "search" / "2026-01-05-0123456789ab").iterdir()}
    assert ("fields.rows.npy" in names) is not bare


def test_indexes_that_are_not_used_any_more_are_removed_and_nothing_else(tmp_path: Path) -> None:
    of, shown = index_of(4), pa.table({"item_id": list("abcd")})
    names = [f"2026-01-0{day}-0123456789ab" for day in range(1, 6)]
    for age, name in enumerate(reversed(names)):
        index.write(tmp_path / name, of, shown)
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    for others in ("unfinished-killed", "photos"):
        (tmp_path / others).mkdir()
        os.utime(tmp_path / others, (1e8, 1e8))
    (tmp_path / "unfinished-at-work").mkdir()
    index.stored(tmp_path, names[0], lambda: pytest.fail("it is there"), lambda dimension: of.reading)
    assert {one.name for one in tmp_path.iterdir()} == {names[0], names[4], names[3], "photos", "unfinished-at-work"}


def test_an_index_that_another_command_has_made_meanwhile_stays(tmp_path: Path) -> None:
    name, shown = "2026-01-05-0123456789ab", pa.table({"item_id": list("abcd")})
    for _ in range(2):
        index.write(tmp_path / name, index_of(4), shown)
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    of = index_of(4), pa.table({"item_id": list("abcd")})
    with pytest.raises(ToolchainError, match=r"cannot be kept in .*/file: .*\n  → .*search\.index"):
        index.stored(tmp_path / "file", "2026-01-05-0123456789ab", lambda: of, lambda dimension: of[0].reading)
