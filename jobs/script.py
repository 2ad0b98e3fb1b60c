"""Which script a letter belongs to, and how well an encoder knows it.

A script is the first word of its letters' Unicode names: LATIN, CYRILLIC, HIRAGANA, CJK. An encoder knows a script as far as its vocabulary
has pieces of several letters in it; every vocabulary has single letters, and they mean nothing.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from jobs.errors import ToolchainError

CODE_POINTS = 0x20000  # beyond lie rare ideographs, and nothing else that product texts hold
PIECES = 100  # of several letters in a script that is known; English vocabularies have ten of Cyrillic and fewer of others
IDEOGRAPHS = 3000  # a language of ideographs is known by so many; English vocabularies have 250


@cache
def of_letter(letter: str) -> str | None:
    """The letter's script; None of what is no letter."""
    return unicodedata.name(letter, "").split(" ")[0].split("-")[0] if unicodedata.category(letter)[0] == "L" else None


def known(pieces: Iterable[str]) -> dict[str, float]:
    """Script → how well a vocabulary of these pieces knows it, above 0 to 1; others are not known at all."""
    found, ideographs = Counter[str](), set[str]()
    for piece in pieces:
        letters = [letter for letter in piece if of_letter(letter)]
        if len(letters) > 1:
            found.update(filter(None, [of_letter(letters[0])]))
        elif letters and of_letter(letters[0]) == "CJK":
            ideographs.add(letters[0])
    shares = {script: count / PIECES for script, count in found.items()}
    if ideographs:
        shares["CJK"] = shares.get("CJK", 0) + len(ideographs) / IDEOGRAPHS
    return {script: min(1.0, share) for script, share in shares.items()}


def known_to(model: Path) -> dict[str, float]:
    """What the tokenizer in a model's folder knows. Raises ToolchainError if there is none."""
    file = next(iter(sorted(model.rglob("tokenizer.json"))), None)
    if file is None:
        raise ToolchainError(f"the model in {model} has no tokenizer.json", "save it with a fast tokenizer, or choose another one")
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing more exact
        raise ToolchainError(f"{file} is no tokenizer: {error}", "save it with a fast tokenizer, or choose another one") from error
    return known(tokenizer.decode([piece]) for piece in range(tokenizer.get_vocab_size()))


def weights(known: Mapping[str, float]) -> npt.NDArray[np.float32]:
    """(CODE_POINTS,) how well each letter's script is known; -1 of what is no letter. Of an encoder that reads single letters alone nothing
    can be told: all scripts count as known."""
    other = 0.0 if known else 1.0
    scripts = (of_letter(chr(code)) for code in range(CODE_POINTS))
    return np.fromiter((-1 if script is None else known.get(script, other) for script in scripts), dtype=np.float32, count=CODE_POINTS)
