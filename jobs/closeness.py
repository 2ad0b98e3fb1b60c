"""How near two products lie beside what they say: by price, and by where they stand in the catalogue.

Of two prices in one currency: the lower as a share of the higher. Of two category paths: the cosine of the sets of their levels, a level
being told apart by all that stands above it.
"""

import zlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.lexicon import BUCKETS, Terms

BETWEEN = " > "  # levels of a category path


def currencies(codes: pa.Array) -> npt.NDArray[np.int64]:
    """(n,) a number for each code, the same in every process."""
    encoded = _encoded(codes)
    numbers = np.array([zlib.crc32(code.encode()) for code in encoded.dictionary.to_pylist()], dtype=np.int64)
    found: npt.NDArray[np.int64] = numbers[encoded.indices.to_numpy()]
    return found


def levels(paths: pa.Array) -> Terms:
    """The levels of each category path; none of an empty one."""
    encoded = _encoded(paths)
    rows = [_levels(path) for path in encoded.dictionary.to_pylist()]
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    bounds = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
    weights = np.repeat(np.maximum(lengths, 1) ** -0.5, lengths).astype(np.float32)
    return Terms(bounds, np.concatenate([np.empty(0, np.int32), *rows]), weights)[encoded.indices.to_numpy().astype(np.int64)]


def _encoded(values: pa.Array) -> pa.DictionaryArray:
    return pa.concat_arrays(values.chunks).dictionary_encode() if isinstance(values, pa.ChunkedArray) else values.dictionary_encode()


def _levels(path: str) -> npt.NDArray[np.int32]:
    """Buckets, ascending, each once."""
    steps = path.casefold().split(BETWEEN) if path else []
    above = [BETWEEN.join(steps[: depth + 1]) for depth in range(len(steps))]
    return np.unique(np.array([zlib.crc32(level.encode()) % BUCKETS for level in above], dtype=np.int32))
