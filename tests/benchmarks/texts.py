"""The texts that encoders are compared on: real catalogues, short, middling and long, each in several languages.

`names`: names of foods, ten tokens on average. `titles`: titles and descriptions of electronics, forty. `ingredients`: names of foods with
what is in them, eighty, one in twenty longer than the encoder reads.
"""

import csv
import gzip
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tests.benchmarks import vectors

CATALOGUES = Path(os.environ.get("CATALOGUES", "../shared/data"))


Texts = Callable[[], Iterator[str]]


def titles() -> Iterator[str]:
    for file in sorted(there("icecat").glob("products_*.json.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as content:
            for product in json.load(content):
                yield f"{product['title']}\n{product.get('short_description') or ''}".strip()


def ingredients() -> Iterator[str]:
    with gzip.open(there("openfoodfacts") / "sample_60k.csv.gz", "rt", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["ingredients"].strip():
                yield f"{row['product_name'].strip()}\n{row['ingredients'].strip()}"


def there(catalogue: str) -> Path:
    folder = CATALOGUES / catalogue
    if not folder.is_dir():
        raise SystemExit(f"no catalogue at {folder.absolute()}\n  → set CATALOGUES to the folder that has it, or run with DATA=names")
    return folder


def sample(texts: Texts, items: int) -> list[str]:
    """A seeded sample of so many of the distinct texts."""
    distinct = list(dict.fromkeys(texts()))
    if items > len(distinct):
        raise SystemExit(f"there are {len(distinct):,} distinct texts, {items:,} were asked for\n  → lower ITEMS")
    return [distinct[i] for i in np.random.default_rng(0).choice(len(distinct), items, replace=False)]


MIXES: dict[str, Callable[[int], list[str]]] = {
    "names": vectors.names,
    "titles": lambda items: sample(titles, items),
    "ingredients": lambda items: sample(ingredients, items),
}
