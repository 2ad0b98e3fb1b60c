"""The items of a night that are nearest to one query, by comparing it with all of them: nothing is approximate.

The query's vector is multiplied with all vectors, its n-grams and codes are looked up by bucket, and what comes near the k-th is computed
once more as the nightly stage computes it (`fusion.settled`): a similarity is the one that is published. Of 100,000 items with
descriptions that takes some twenty milliseconds, most of them for reading 150 MB of vectors.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from jobs import fusion, pool
from jobs.fusion import Reading, Rows, Sought, Vectors
from jobs.kernel import NONE

ROUNDING = 1e-5  # between two ways to compute a similarity


@dataclass(frozen=True)
class Index:
    """n items, in the order of their ids: as they are looked up, the columns of `fusion.READ` they were made of, and how they are read."""

    sought: Sought
    columns: pa.Table
    reading: Reading

    @classmethod
    def of(cls, vectors: Vectors, columns: pa.Table, reading: Reading, threads: int = 1) -> "Index":
        """vectors (n, d) float32, of unit length or zero."""
        return cls(Sought.of(fusion.items(vectors, columns, reading, threads)), columns, reading)

    def __len__(self) -> int:
        return len(self.sought)

    def nearest(self, vector: Vectors, columns: pa.Table, k: int) -> fusion.Near:
        """One list of the k most similar items of a query, a vector (d,) and one row of READ; equal ones in the order of their positions.
        NONE where there are fewer."""
        asked = fusion.items(vector[None], columns, self.reading)
        return self._settled(vector, columns, chosen(self.sought.compared(asked, self.reading.weights)[0], k), k)

    def nearest_of(self, item: int, k: int) -> fusion.Near:
        """The same of an item of the index, without itself."""
        vector, columns = self.sought.vectors[item], self.columns.slice(item, 1)
        similarities = self.sought.compared(fusion.items(vector[None], columns, self.reading), self.reading.weights)[0]
        similarities[item] = -np.inf
        return self._settled(vector, columns, chosen(similarities, k), k)

    def _settled(self, vector: Vectors, columns: pa.Table, near: Rows, k: int) -> fusion.Near:
        vectors = np.vstack([vector, self.sought.vectors[near]])
        of = fusion.items(vectors, pa.concat_tables([columns, self.columns.take(near)]), self.reading)
        candidates = np.arange(1, len(of), dtype=np.int32)[None]
        with pool.alone() as one:
            found = fusion.settled(of, self.reading.weights, np.zeros(1, dtype=np.int64), candidates, k, one)
        places = np.append(near, NONE).astype(np.int32)  # of NONE, which is -1, the last
        return fusion.Near(places[np.where(found.positions == NONE, NONE, found.positions - 1)], found.similarities, found.parts)


def chosen(similarities: Vectors, k: int) -> Rows:
    """Positions, ascending, of those that may be among the k most similar, rounding considered; never of -inf."""
    count = min(k, len(similarities))
    bar = np.partition(similarities, -count)[-count] - ROUNDING if count else 0
    return np.flatnonzero((similarities >= bar) & (similarities > -np.inf))
