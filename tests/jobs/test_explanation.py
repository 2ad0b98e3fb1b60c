"""What two items share, against their similarity, and worked out by hand where it can be."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import fusion
from jobs.explanation import Explanation, explained
from jobs.tables import PARTS
from tests.jobs.test_fusion import ALL, WEIGHTS, catalogue, expected, offers, reading
from tests.readings import columns

VECTORS, TITLES, FIELDS = catalogue(40)
OFFERS = offers(40)


def of(*texts: str, fields: tuple[str, str] | None = None) -> Explanation:
    """Of two titles that are one thing to the encoder."""
    told = fields or texts
    return explained(np.eye(1, 8, dtype=np.float32)[[0, 0]], pa.table(columns(texts, told)), reading(list(told)))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 39), st.integers(0, 39), st.sampled_from([WEIGHTS, ALL, np.array([0, 1, 0, 0, 0], np.float32)]))
def test_channels_make_up_the_similarity_and_shares_the_parts(one: int, other: int, weights: np.ndarray) -> None:
    rows = np.array([one, other])
    how = reading(FIELDS, weights)
    found = explained(VECTORS[rows], pa.table(columns(TITLES, FIELDS, OFFERS)).take(rows), how)
    truth = expected(VECTORS[rows], [TITLES[row] for row in rows], [FIELDS[row] for row in rows], weights, [OFFERS[row] for row in rows])[
        0, 1
    ]
    parts = [np.nan if channel.part is None else channel.part for channel in found.channels]
    compared = fusion.items(
        VECTORS[rows], columns([TITLES[row] for row in rows], [FIELDS[row] for row in rows], [OFFERS[row] for row in rows]), how
    )
    assert found.similarity == pytest.approx(fusion.compared(compared, compared, weights)[0, 1], abs=1e-5)
    assert [np.isnan(part) for part in parts] == np.isnan(truth[1:]).tolist()
    assert sum(channel.contribution for channel in found.channels) == pytest.approx(found.similarity, abs=1e-6)
    assert sum(channel.weight for channel in found.channels) == pytest.approx(1)
    assert max(found.spellings.values()) == pytest.approx(parts[1], abs=1e-5)
    for shared, part in ((found.words, parts[1]), (found.codes, parts[2])):
        assert sum(one.share for one in shared) == pytest.approx(1 if part > 0 else 0)
        assert [one.share for one in shared] == sorted((one.share for one in shared), reverse=True)


def test_words_that_both_have_come_before_those_that_are_alike() -> None:
    found = of("steel kettle", "kettles kettle")
    assert [(shared.mine, shared.theirs) for shared in found.words] == [("kettle", "kettle")]  # kettles has nothing that is left
    assert found.words[0].share == pytest.approx(1)
    assert [(shared.mine, shared.theirs) for shared in of("steel kettle", "steel kettles").words] == [
        ("steel", "steel"),
        ("kettle", "kettles"),
    ]


def test_the_better_of_title_and_all_fields_is_told() -> None:
    assert of("kettle", "kettle", fields=("kettle", "kettle with many more words")).better == "titles"
    found = of("kettle", "x200", fields=("kettle x200", "x200 kettle"))
    assert found.better == "all fields"
    assert found.spellings == {"titles": 0, "all fields": pytest.approx(1)}
    assert [(shared.mine, shared.share) for shared in found.codes] == [("x200", pytest.approx(1))]


def test_what_an_encoder_does_not_know_weighs_less() -> None:
    """LATIN is known, CYRILLIC to a quarter: of a weight of .4 beside .4."""
    semantic, lexical, *_ = of("лампа", "лампа").channels
    assert (semantic.setting, semantic.weight) == (pytest.approx(0.4), pytest.approx(0.2))
    assert (lexical.weight, lexical.contribution) == (pytest.approx(0.8), pytest.approx(0.8))


def test_two_that_have_nothing_to_compare() -> None:
    silent = explained(np.zeros((2, 8), np.float32), pa.table(columns(["🙂", "kettle"], ["🙂", "kettle"])), reading(["kettle"]))
    assert silent.similarity is None
    assert [channel.name for channel in silent.channels] == list(PARTS)
    assert {(channel.part, channel.weight, channel.contribution) for channel in silent.channels} == {(None, 0, 0)}
    assert silent.words == silent.codes == ()
