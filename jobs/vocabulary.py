"""The words that generated products are made of, read once from vocabulary.csv (kinds of product) and vocabulary.toml (everything else).

To add a kind of product, add a line to vocabulary.csv; the columns after `spec` are its name in every language.
"""

import csv
import tomllib
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

LANGUAGES = ("en", "de", "fr", "es", "ja", "ar")

Words = tuple[str, ...]  # one text in every language, in the order of LANGUAGES


@dataclass(frozen=True, slots=True)
class Option:
    """One value of an axis, and what it costs against the typical one."""

    text: Words
    worth: float


@dataclass(frozen=True, slots=True)
class Department:
    market: str  # its name at the market
    prefix: str  # of the shop's ids
    numbered: bool  # titles print a model number
    brands: tuple[str, ...]
    feature_pairs: tuple[tuple[Words, Words], ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of product; `axes` are what sets siblings apart, `price` is a median in EUR."""

    department: Department
    category: tuple[str, ...]
    market_category: tuple[str, ...]
    price: float
    axes: tuple[str, str]
    options: tuple[tuple[Option, ...], tuple[Option, ...]]  # of each axis
    specs: tuple[Words, ...]
    name: Words


@dataclass(frozen=True, slots=True)
class Vocabulary:
    kinds: tuple[Kind, ...]
    lines: tuple[str, ...]
    languages: tuple[int, ...]  # positions in LANGUAGES, each as often as it is spoken in a hundred families
    openings: tuple[Words, ...]
    variant: Words
    notices: tuple[Words, ...]
    edition: Words
    abbreviations: dict[str, str]


@cache
def vocabulary() -> Vocabulary:
    with Path(__file__).with_suffix(".toml").open("rb") as file:
        words = tomllib.load(file)
    return Vocabulary(
        kinds=_kinds(words),
        lines=tuple(head + tail for head in words["line_heads"] for tail in words["line_tails"]),
        languages=tuple(position for position, weight in enumerate(words["language_weights"]) for _ in range(weight)),
        openings=_texts(words["sentences"]["opening"]),
        variant=_words(words["sentences"]["variant"]),
        notices=_texts(words["sentences"]["notice"]),
        edition=_words(words["sentences"]["edition"]),
        abbreviations=words["abbreviations"],
    )


def _kinds(words: dict[str, Any]) -> tuple[Kind, ...]:
    departments = {
        name: Department(
            market=about["market"],
            prefix=about["prefix"],
            numbered=about["numbered"],
            brands=tuple(about["brands"]),
            feature_pairs=tuple(permutations(_texts(about["features"]), 2)),
        )
        for name, about in words["departments"].items()
    }
    axes = {name: _options(axis) for name, axis in words["axes"].items()}
    specs = {name: _texts(texts) for name, texts in words["specs"].items()}
    with Path(__file__).with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        return tuple(_kind(row, departments[row["department"]], axes, specs) for row in csv.DictReader(file))


def _kind(row: dict[str, str], department: Department, axes: dict[str, tuple[Option, ...]], specs: dict[str, tuple[Words, ...]]) -> Kind:
    first, second = row["axes"].split()
    return Kind(
        department=department,
        category=(row["department"], row["group"], row["leaf"]),
        market_category=(department.market, row["market_leaf"]),
        price=float(row["price"]),
        axes=(first, second),
        options=(axes[first], axes[second]),
        specs=specs[row["spec"]],
        name=tuple(row[language] for language in LANGUAGES),
    )


def _options(axis: dict[str, Any]) -> tuple[Option, ...]:
    texts = _texts(axis["options"])
    return tuple(Option(text, worth) for text, worth in zip(texts, axis.get("worth", [1] * len(texts)), strict=True))


def _texts(texts: list[str]) -> tuple[Words, ...]:
    return tuple(_words(text) for text in texts)


def _words(text: str) -> Words:
    """A text as it is written in vocabulary.toml: six languages between bars, or one for all."""
    return tuple(text.split(" | ")) if " | " in text else (text,) * len(LANGUAGES)
