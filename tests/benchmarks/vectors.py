"""The vectors that systems are compared on: real ones, and a hard set that anyone can make.

`openfoodfacts`: distinct product names in many languages through the built-in encoder. Encoding takes minutes and is done once: the
vectors stay in build/bench. `hard`: hierarchical, weak families of about eight, power-law spectrum, 384 dimensions.
"""

import csv
import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

FOLDER = Path("build/bench")
NAMES = Path(os.environ.get("OPENFOODFACTS", "../shared/data/openfoodfacts/products.csv.gz"))
DIMENSION = 384
ENCODED_AT_ONCE = 20_000

Vectors = npt.NDArray[np.float32]


def stored(data: str, rows: int) -> Path:
    """The .npy file of `rows` vectors, made first if it is not there."""
    file = FOLDER / f"{data}-{rows}.npy"
    if not file.is_file():
        FOLDER.mkdir(parents=True, exist_ok=True)
        vectors = SETS[data](rows)
        np.save(file.with_suffix(".part.npy"), vectors)
        file.with_suffix(".part.npy").rename(file)
    return file


def names(rows: int) -> list[str]:
    """A seeded sample of `rows` distinct names, in the order of the file."""
    if not NAMES.is_file():
        raise SystemExit(f"no Open Food Facts names at {NAMES.absolute()}\n  → set OPENFOODFACTS to products.csv.gz, or run with DATA=hard")
    with gzip.open(NAMES, "rt", encoding="utf-8", newline="") as lines:
        distinct = list(dict.fromkeys(name for row in csv.DictReader(lines) if (name := row["product_name"].strip())))
    if rows > len(distinct):
        raise SystemExit(f"{NAMES} has {len(distinct):,} distinct names, {rows:,} were asked for\n  → lower ROWS")
    chosen = np.random.default_rng(0).choice(len(distinct), rows, replace=False)
    return [distinct[i] for i in np.sort(chosen)]


def openfoodfacts(rows: int) -> Vectors:
    from jobs import encoder

    texts = names(rows)
    model = encoder.load(encoder.folder_of(None))
    vectors = np.empty((rows, model.dimension), dtype=np.float32)
    for start in range(0, rows, ENCODED_AT_ONCE):
        print(f"bench: encoding {start:,} of {rows:,} names, once", flush=True)
        part = slice(start, start + ENCODED_AT_ONCE)
        vectors[part] = model.encode(texts[part], threads=os.cpu_count() or 1).vectors
    return vectors


def hard(rows: int) -> Vectors:
    """24 departments, 720 categories, families of 8 on average whose members lie little nearer to each other than to their category."""
    random = np.random.default_rng(0)
    spectrum = np.arange(1, DIMENSION + 1, dtype=np.float32) ** -0.5  # variance falls as 1/i
    spectrum /= np.linalg.norm(spectrum)

    def noise(count: int) -> Vectors:
        return random.standard_normal((count, DIMENSION), dtype=np.float32) * spectrum

    departments, categories, families = 24, 720, max(1, rows // 8)
    department = noise(departments)
    category = 0.8 * department[random.integers(departments, size=categories)] + 0.6 * noise(categories)
    family = 0.7 * category[random.integers(categories, size=families)] + 0.7 * noise(families)
    vectors = 0.75 * family[random.integers(families, size=rows)] + 0.65 * noise(rows)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


SETS: dict[str, Callable[[int], Vectors]] = {"openfoodfacts": openfoodfacts, "hard": hard}
