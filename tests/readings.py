"""How items are read in tests that are about something else."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from jobs import fusion, lexicon, script

Offer = tuple[float, str, str]  # price, currency, category


def by_meaning(dimension: int) -> fusion.Reading:
    """By their vectors alone, in every script."""
    weights = np.array([1, 0, 0, 0, 0], dtype=np.float32)
    return fusion.Reading(weights, lexicon.counted(pa.array([], pa.string())), np.ones(script.CODE_POINTS, np.float32), dimension)


def columns(titles: Sequence[str | None], fields: Sequence[str | None], offers: Sequence[Offer] | None = None) -> dict[str, pa.Array]:
    """What is read beside the vectors; of no offers nothing is known."""
    values = titles, fields, *zip(*(offers or [(0.0, "", "")] * len(titles)), strict=True)
    return {name: pa.array(column, kind) for (name, kind), column in zip(fusion.READ.items(), values, strict=True)}
