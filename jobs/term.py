"""The terms of a text by their letters, for people: what `spelling` hashes, and which bucket each is in.

Codes are found from the other side: of all runs of letters that could be one, those are taken whose bucket the text has.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator

import numpy as np
import pyarrow as pa

from jobs import lexicon, spelling
from jobs.lexicon import BUCKETS

BOUNDARY = "\0"  # of a word, in an n-gram: the loops' letter 0
LONGEST_CODE = 40  # letters of one that is given a name
_INSIDE = (spelling.WORD, spelling.DIGIT)


def grams(text: str) -> dict[int, set[str]]:
    """The buckets of a text's n-grams, each with the words that have it."""
    found = defaultdict[int, set[str]](set)
    for word in set(words(text)):
        for gram in grams_of(word):
            found[bucket(gram)].add(word)
    return dict(found)


def words(text: str) -> Iterator[str]:
    """The words of a text as n-grams are read in them, letters of a script without spaces apart from others."""
    word, dense = "", False
    for letter, kind in _letters(text):
        inside = kind in (*_INSIDE, spelling.DENSE)
        if word and (not inside or (kind == spelling.DENSE) != dense):
            yield word
            word = ""
        if inside:
            word, dense = word + letter, kind == spelling.DENSE
    if word:
        yield word


def grams_of(word: str) -> list[str]:
    if _kind(word[0]) == spelling.DENSE:
        return [*word, *(word[start : start + 2] for start in range(len(word) - 1))]
    bounded, sizes = BOUNDARY + word + BOUNDARY, range(spelling.SHORTEST, spelling.LONGEST + 1)
    return [bounded[start : start + size] for size in sizes for start in range(len(bounded) - size + 1)]


def codes(text: str, wanted: Collection[int]) -> dict[int, str]:
    """Those of the wanted buckets that are in the text, each with the shortest code of it."""
    letters = list(_letters(text))
    found: dict[int, str] = {}
    for start, (_, kind) in enumerate(letters):
        if kind in _INSIDE:
            for code in _runs(letters[start : start + LONGEST_CODE]):
                if (of := bucket(code)) in wanted and len(code) < len(found.get(of, code + " ")):
                    found[of] = code
    return found


def bucket(term: str) -> int:
    return int(spelling.bucket(np.array([ord(letter) for letter in term], dtype=np.int64), BUCKETS))


def _runs(letters: list[tuple[str, int]]) -> Iterator[str]:
    """What may be read as one code from the first letter on: blanks, hyphens, and dots that are not between digits left out."""
    run = ""
    for at, (letter, kind) in enumerate(letters):
        if kind in _INSIDE:
            run += letter
            yield run
        elif kind in (spelling.JOINER, spelling.DECIMAL):
            figures = at and at + 1 < len(letters) and letters[at - 1][1] == letters[at + 1][1] == spelling.DIGIT
            run += "." if figures and letter == "," else letter if figures and letter != "-" else ""


def _letters(text: str) -> Iterator[tuple[str, int]]:
    """Every letter that is seen, with its kind."""
    for letter in lexicon.folded(pa.array([text]))[0].as_py():
        if (kind := _kind(letter)) != spelling.UNSEEN:
            yield letter, kind


def _kind(letter: str) -> int:
    kinds = lexicon.kinds()
    if ord(letter) < len(kinds):
        return int(kinds[ord(letter)])
    return spelling.DENSE if ord(letter) < spelling.SELECTORS else spelling.UNSEEN
