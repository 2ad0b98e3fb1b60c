"""Measures of neighbours, each with its definition."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

TIE = 1e-6  # cosines closer than this are one and the same: float32 rounding of a published similarity is about 6e-8


def recall_of_items(
    published: Sequence[npt.NDArray[np.floating]], exact: Sequence[npt.NDArray[np.floating]], k: int
) -> npt.NDArray[np.float64]:
    """(n,) share of each item's k nearest that was published; ties by similarity, so that any of several equal neighbours counts.

    `published[i]` are the true similarities of the item's published neighbours, `exact[i]` those of its true neighbours, descending.
    An item that has nothing to be matched with has recall nan.
    """
    recalls = np.full(len(exact), np.nan)
    for i, (found, best) in enumerate(zip(published, exact, strict=True)):
        possible = min(k, len(best))
        if possible:
            recalls[i] = min(possible, int(np.sum(np.sort(found)[::-1][:possible] >= best[possible - 1] - TIE))) / possible
    return recalls


def mean_recall(published: Sequence[npt.NDArray[np.floating]], exact: Sequence[npt.NDArray[np.floating]], k: int) -> float:
    """The mean of `recall_of_items`; 1 where no item has anything to be matched with."""
    recalls = recall_of_items(published, exact, k)
    return float(np.nanmean(recalls)) if not np.isnan(recalls).all() else 1.0


def wilson(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share seen in n trials (Wilson, 1927). For a mean of n values between 0 and 1 it is wide enough, since no
    such values vary more than the ones of a 0/1 trial."""
    if n == 0:
        return 0.0, 1.0
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))  # an end may be rounded past the share
