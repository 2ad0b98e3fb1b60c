"""How likely two products are one, by what they agree on: the model of Fellegi and Sunter ("A Theory for Record Linkage", 1969).

A pair is described by its level in each of several comparisons, which are taken to be independent of each other among pairs that match, and
among those that do not. How often each level is met on either side is estimated from labels, or without any by expectation maximisation
(Winkler, "Using the EM Algorithm for Weight Computation in the Fellegi-Sunter Model of Record Linkage", 1988). A level's weight is the
logarithm of the ratio of the two shares; more agreement never weighs less than less of it.

Pairs that are known apart show what those look like that only resemble each other; as in Nigam et al. ("Text Classification from Labeled
and Unlabeled Documents using EM", 2000) they have a weight of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNKNOWN = 0  # level of what cannot be compared: it weighs nothing
ROUNDS, CLOSE = 200, 1e-5  # of the estimation: at most, and where it has come to rest
APART = 2.0  # what a pair weighs that is known apart, beside one that is only supposed to be
PSEUDO = 5.0  # pairs of the smaller side that meet the levels as all do, beside those that are there: a level never met decides nothing


@dataclass(frozen=True)
class Model:
    """prior: log odds that a pair matches. weights: by comparison, of its levels, UNKNOWN first."""

    prior: float
    weights: tuple[NDArray[np.float64], ...]

    def log_odds(self, levels: NDArray[np.int8]) -> NDArray[np.float64]:
        """levels: (kinds, comparisons) -> (kinds,)."""
        odds = np.full(len(levels), self.prior)
        for at, weights in enumerate(self.weights):
            odds += weights[levels[:, at]]
        return odds

    def probability(self, levels: NDArray[np.int8]) -> NDArray[np.float64]:
        return 1 / (1 + np.exp(-self.log_odds(levels)))


def estimated(
    levels: NDArray[np.int8],
    counts: NDArray[np.int64],
    sizes: Sequence[int],
    matching: NDArray[np.float64],
    apart: NDArray[np.int64] | None = None,
) -> Model:
    """The model of pairs of which it is known, or supposed, how likely they match. levels: (kinds, comparisons), each from UNKNOWN to its
    size; counts: (kinds,), the pairs that have these levels; matching: (kinds,), the share of them that matches; apart: (kinds,), further
    pairs that are known not to."""
    weights, others = [], counts * (1 - matching) + (0 if apart is None else APART * apart)
    for at, size in enumerate(sizes):
        both = [np.bincount(levels[:, at], of, size + 1)[1:] for of in (counts * matching, others)]
        usual = (both[0] + both[1] + PSEUDO) / (both[0].sum() + both[1].sum() + PSEUDO * size)
        doubt = PSEUDO / max(min(count.sum() for count in both), PSEUDO)
        among = [count / max(count.sum(), PSEUDO) + doubt * usual for count in both]
        weights.append(np.concatenate([[0.0], rising(np.log(among[0] / among[1]), usual)]))
    share = (counts @ matching + PSEUDO) / (counts.sum() + 2 * PSEUDO)
    return Model(float(np.log(share / (1 - share))), tuple(weights))


def learnt(
    levels: NDArray[np.int8],
    counts: NDArray[np.int64],
    sizes: Sequence[int],
    supposed: NDArray[np.float64],
    apart: NDArray[np.int64] | None = None,
) -> Model:
    """The model of pairs of which nothing is known, beginning with a supposition of `estimated`'s `matching`."""
    matching = supposed
    for _ in range(ROUNDS):
        model = estimated(levels, counts, sizes, matching, apart)
        before, matching = matching, model.probability(levels)
        if np.abs(matching - before).max(initial=0) < CLOSE:
            break
    return model


def rising(values: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest values that never fall, by the squares of the differences: neighbours that fall are pooled (Ayer et al., 1955)."""
    pools: list[tuple[float, float, int]] = []  # value, size, how many
    for value, size in zip(values.tolist(), sizes.tolist(), strict=True):
        pool = (value, size, 1)
        while pools and pools[-1][0] >= pool[0]:
            other = pools.pop()
            whole = other[1] + pool[1]
            pool = ((other[0] * other[1] + pool[0] * pool[1]) / whole, whole, other[2] + pool[2])
        pools.append(pool)
    return np.repeat([pool[0] for pool in pools], [pool[2] for pool in pools])
