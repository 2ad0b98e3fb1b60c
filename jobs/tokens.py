"""Texts as a model's tokens: by its own tokenizer, as the library would read them, without the work the library does around it, which
takes several times as long and by one thread at a time."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Encoding, Tokenizer

OF_ENCODINGS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}  # features, and where they are
UNPADDED = {"text": {"padding": False}, "common": {"return_tensors": None}}  # how the library is asked for each text's own tokens
SAMPLE = ["Steel tea pot", " 1,5 l,  ÉMAILLÉ\n", "", "急須 🫖 #4", "tea " * 10_000]  # in which ways of reading would differ


@dataclass(frozen=True)
class Reader:
    """How texts become features of a model: `names` of those that are of each token, what they are `filled` up with, on the left or not,
    and what is the `same` for all texts. `special` tokens are of no text."""

    tokenizer: "Tokenizer"
    prompt: str
    names: tuple[str, ...]
    filled: dict[str, int]
    on_the_left: bool
    same: dict[str, Any]
    special: npt.NDArray[np.int64]

    def read(self, texts: Sequence[str], pool: ThreadPoolExecutor, parts: int) -> "list[Encoding]":
        """The tokens of every text, read by as many threads as there are parts."""
        shares = [texts[start : start + -(-len(texts) // parts)] for start in range(0, len(texts), max(1, -(-len(texts) // parts)))]
        return list(
            chain.from_iterable(pool.map(lambda share: self.tokenizer.encode_batch_fast([self.prompt + text for text in share]), shares))
        )

    def known(self, encodings: "Sequence[Encoding]", lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """(n,): tokens of each text that are not special."""
        known = ~np.isin(flat((encoding.ids for encoding in encodings), int(lengths.sum())), self.special)
        until = np.append(0, np.cumsum(known))
        ends = np.cumsum(lengths)
        return np.asarray(until[ends] - until[ends - lengths])

    @cached_property
    def of_nothing(self) -> int:
        """Tokens that are not special in an empty text, those of the prompt."""
        return sum(token not in self.special for token in self.tokenizer.encode(self.prompt).ids)

    def features(self, encodings: "Sequence[Encoding]", lengths: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.int64]]:
        """(n, longest) of each name."""
        longest = int(lengths.max())
        columns = np.arange(longest)
        taken = columns >= longest - lengths[:, None] if self.on_the_left else columns < lengths[:, None]
        found = {}
        for name in self.names:
            found[name] = np.full(taken.shape, self.filled[name], dtype=np.int64)
            found[name][taken] = flat((getattr(encoding, OF_ENCODINGS[name]) for encoding in encodings), int(lengths.sum()))
        return found


def flat(lists: Iterable[list[int]], count: int) -> npt.NDArray[np.int64]:
    return np.fromiter(chain.from_iterable(lists), dtype=np.int64, count=count)


def reader(model: "SentenceTransformer") -> Reader | None:
    """The model's; None where the library reads in another way: models of messages, of no transformer, of tokenizers that it has made
    something else of."""
    from sentence_transformers.base.modules import Transformer

    if not isinstance(model[0], Transformer) or "message" in model[0].modality_config or not getattr(model.tokenizer, "is_fast", False):
        return None
    prompt = model.prompts.get(model.default_prompt_name or "") or ""
    read = model.preprocess(SAMPLE, prompt=prompt, processing_kwargs=UNPADDED)  # this also tells the tokenizer where to truncate
    names = tuple(name for name, value in read.items() if isinstance(value, list))
    tokenizer = model.tokenizer.backend_tokenizer
    encodings = tokenizer.encode_batch_fast([prompt + text for text in SAMPLE])
    if not set(names) <= OF_ENCODINGS.keys() or any(read[n] != [getattr(e, OF_ENCODINGS[n]) for e in encodings] for n in names):
        return None
    filled = {"input_ids": model.tokenizer.pad_token_id, "attention_mask": 0, "token_type_ids": model.tokenizer.pad_token_type_id}
    on_the_left = model.tokenizer.padding_side == "left"
    same = {name: value for name, value in read.items() if name not in names}
    return Reader(tokenizer, prompt, names, filled, on_the_left, same, np.array(sorted(model.tokenizer.all_special_ids), dtype=np.int64))
