"""Texts as a model's tokens: by its own tokenizer, as the library would read them, without the work the library does around it, which
takes several times as long and by one thread at a time."""

import copy
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

OF_ENCODINGS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}  # features, and where they are
UNPADDED = {"text": {"padding": False}, "common": {"return_tensors": None}}  # how the library is asked for each text's own tokens
BLANK = "\u2581"  # before each word of a SentencePiece model, and alone before one that it does not know
SAMPLE = ["Steel tea pot", " 1,5 l,  ÉMAILLÉ\n", "", "急須 🫖 #4", "tea " * 10_000]  # in which ways of reading would differ


@dataclass(frozen=True)
class Reader:
    """How texts become features of a model: `names` of those that are of each token, what they are `filled` up with, on the left or not,
    and what is the `same` for all texts. `special` tokens (s,) int64 tell nothing of a text."""

    tokenizer: "Tokenizer"
    adds_special: bool
    prompt: str
    names: tuple[str, ...]
    filled: dict[str, int]
    on_the_left: bool
    same: dict[str, Any]
    special: npt.NDArray[np.int64]

    def read(self, texts: Sequence[str], pool: Executor, parts: int) -> "Tokens":
        """The tokens of the texts, read in so many parts at once."""
        size = max(1, -(-len(texts) // parts))
        shares = [[self.prompt + text for text in texts[start : start + size]] for start in range(0, len(texts), size)]
        encodings = list(chain.from_iterable(pool.map(self._encodings, shares)))
        lengths = np.fromiter(map(len, encodings), dtype=np.int64, count=len(texts))
        truncated = np.fromiter((bool(encoding.overflowing) for encoding in encodings), dtype=np.bool_, count=len(texts))
        count = int(lengths.sum())
        flat = {name: _flat((getattr(encoding, OF_ENCODINGS[name]) for encoding in encodings), count) for name in self.names}
        return Tokens(self, lengths, truncated, flat)

    def _encodings(self, texts: list[str]) -> list[Any]:
        return self.tokenizer.encode_batch_fast(texts, add_special_tokens=self.adds_special)

    @cached_property
    def of_nothing(self) -> int:
        """Tokens that are not special in an empty text: those of the prompt, whose last blank may be part of a text's first word."""
        return sum(token not in self.special for token in self.tokenizer.encode(self.prompt.rstrip()).ids)


@dataclass(frozen=True)
class Tokens:
    """What a reader has read: the `lengths` (n,) int64 of the texts in tokens, which of them were `truncated` (n,), and of each feature the
    numbers of all tokens, `flat` (lengths.sum(),) int32, one text after the other."""

    reader: Reader
    lengths: npt.NDArray[np.int64]
    truncated: npt.NDArray[np.bool_]
    flat: dict[str, npt.NDArray[np.int32]]

    @cached_property
    def understood(self) -> npt.NDArray[np.bool_]:
        """(n,): whether any token of the text is one that the model knows."""
        until = np.append(0, np.cumsum(~np.isin(self.flat["input_ids"], self.reader.special)))
        return np.asarray(until[self._ends] - until[self._ends - self.lengths] > self.reader.of_nothing)

    @cached_property
    def _ends(self) -> npt.NDArray[np.int64]:
        return np.cumsum(self.lengths)

    def padded(self, rows: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.int64]]:
        """(n, longest) of each feature of these texts."""
        lengths = self.lengths[rows, None]
        longest = int(lengths.max())
        columns = np.arange(longest) - (longest - lengths if self.reader.on_the_left else 0)
        taken = (columns >= 0) & (columns < lengths)
        places = np.where(taken, self._ends[rows, None] - lengths + columns, 0)
        return {
            name: np.where(taken, flat[places] if len(flat) else 0, self.reader.filled[name]).astype(np.int64)
            for name, flat in self.flat.items()
        }


def _flat(lists: Iterable[list[int]], count: int) -> npt.NDArray[np.int32]:
    return np.fromiter(chain.from_iterable(lists), dtype=np.int32, count=count)


def reader(model: "SentenceTransformer") -> Reader | None:
    """The model's; None where the library reads in another way: models of messages, of no transformer, of tokenizers that it has made
    something else of. Raises ValueError for a tokenizer that cannot fill up a batch."""
    from sentence_transformers.base.modules import Transformer

    if not isinstance(model[0], Transformer) or "message" in model[0].modality_config or not getattr(model.tokenizer, "is_fast", False):
        return None
    if model.tokenizer.pad_token_id is None:
        raise ValueError("its tokenizer has no padding token")
    prompt = model.prompts.get(model.default_prompt_name or "") or ""
    expected = model.preprocess(SAMPLE, prompt=prompt, processing_kwargs=UNPADDED)  # this also tells the tokenizer where to truncate
    how = model[0].processing_kwargs.get("text", {})
    tokenizer = copy.deepcopy(model.tokenizer.backend_tokenizer)  # what the library does next would change it
    tokenizer.encode_special_tokens = model.tokenizer.backend_tokenizer.encode_special_tokens
    blank = {tokenizer.token_to_id(BLANK)} - {None}
    found = Reader(
        tokenizer,
        adds_special=how.get("add_special_tokens", True),
        prompt=prompt,
        names=tuple(name for name, value in expected.items() if isinstance(value, list)),
        filled={"input_ids": model.tokenizer.pad_token_id, "attention_mask": 0, "token_type_ids": model.tokenizer.pad_token_type_id},
        on_the_left=how.get("padding_side", model.tokenizer.padding_side) == "left",
        same={name: value for name, value in expected.items() if not isinstance(value, list)},
        special=np.array(sorted({*model.tokenizer.all_special_ids, *blank}), dtype=np.int64),
    )
    if not {"input_ids"} <= set(found.names) <= OF_ENCODINGS.keys():
        return None
    encodings = found._encodings([prompt + text for text in SAMPLE])
    if any(expected[name] != [getattr(encoding, OF_ENCODINGS[name]) for encoding in encodings] for name in found.names):
        return None
    return found
