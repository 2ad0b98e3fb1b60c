"""The encoder on tiny real models: the library's own vectors, whatever the batches, the threads and the kind of model; odd texts; folders
that are no models."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs import batch, encoder, tokens
from jobs.errors import ToolchainError
from tests import tiny_encoder

TEXTS = [
    "red shoe",
    "a much longer name of a blue car with four doors",
    "",  # no text at all
    "\u200b\u200b",  # zero-width spaces: nothing is left of them
    "😀👟😀",  # unknown to the model
    "!?!... --- ***",
    "赤い靴 紅鞋",
    "حذاء أحمر",
    "red shoe 紅鞋 حذاء 👟",
    "red shoe " * 12_000,  # more than 100,000 characters
    *(f"{n} red shoes" for n in range(20)),
]
UNKNOWN = [2, 3, 4, 6, 7]  # of these no token is known to the model
KINDS: dict[str, dict[str, Any]] = {
    "mean": {},
    "cls": {"pooling": "cls"},
    "max": {"pooling": "max"},
    "mean by root": {"pooling": "mean_sqrt_len_tokens"},
    "weighted": {"pooling": "weightedmean"},
    "last": {"pooling": "lasttoken"},
    "two poolings": {"pooling": ("mean", "max")},
    "dense": {"dense": True},
    "not normalised": {"normalised": False},
    "short": {"max_seq_length": 7},
    "prompt": {"prompts": {"item": "product: ", "query": "find: "}, "default_prompt_name": "item"},
    "prompt not pooled": {"prompts": {"item": "product: "}, "default_prompt_name": "item", "include_prompt": False},
    "prompt not by default": {"prompts": {"item": "product: "}},
}


@pytest.fixture(scope="module")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    return lambda **options: tiny_encoder.save(tmp_path_factory.mktemp("kind") / "model", **options)


def of_the_library(folder: Path, texts: list[str]) -> Any:
    """Its vectors, zero for texts without a token that it knows."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    found = model.encode(texts, normalize_embeddings=True)
    if hasattr(model.tokenizer, "all_special_ids"):
        tokens = model.tokenizer(texts, add_special_tokens=False)["input_ids"]
        found[[not set(ids) - {*model.tokenizer.all_special_ids} for ids in tokens]] = 0
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_the_librarys_own(model_of: Callable[..., Path], kind: str) -> None:
    folder = model_of(**KINDS[kind])
    loaded = encoder.in_float32(folder)
    expected = of_the_library(folder, TEXTS)
    found = loaded.encode(TEXTS, batch_tokens=256, threads=2).vectors
    assert found.dtype == np.float32
    assert found.shape == (len(TEXTS), loaded.dimension)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), expected.any(axis=1), atol=1e-6)
    assert np.flatnonzero(~expected.any(axis=1)).tolist() == UNKNOWN
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_weights_saved_in_half_a_precision_are_computed_in_float32(model_of: Callable[..., Path]) -> None:
    folder = model_of(dense=True, saved_as="bfloat16")
    exact = encoder.in_float32(folder)
    assert {weight.dtype.itemsize for weight in exact.model.parameters()} == {4}
    found, half = exact.encode(TEXTS).vectors, encoder.narrowed(exact, "bfloat16").encode(TEXTS).vectors
    assert (found * half).sum(axis=1)[found.any(axis=1)].mean() > 0.999
    assert encoder.fastest(exact).encode(["pen"]).vectors @ exact.encode(["pen"]).vectors.T > 0.99


def test_a_half_that_disagrees_or_is_slow_here_is_refused(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "has_bfloat16", lambda: True)
    exact = encoder.in_float32(tiny_model, "cpu")
    assert encoder.fastest(exact).precision == "bfloat16"
    monkeypatch.setattr(encoder, "AGREES", 1.1)
    assert encoder.fastest(exact).precision == "float32"
    monkeypatch.undo()
    monkeypatch.setattr(encoder, "has_bfloat16", lambda: False)
    assert encoder.fastest(exact).precision == "float32"


def test_a_gpu_without_memory_for_the_probe_stays_exact(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "has_bfloat16", lambda: True)
    crowded = with_memory_for(tiny_model, 100)
    assert encoder.fastest(crowded) is crowded


@pytest.mark.parametrize(("halfs", "chosen"), [(0.1, "float16"), (0.99, "float32")])
def test_a_gpu_is_measured(tiny_model: Path, monkeypatch: pytest.MonkeyPatch, halfs: float, chosen: str) -> None:
    exact = encoder.in_float32(tiny_model, "cpu")
    (probe,) = batch.batches(exact.reader, ["steel tea pot"], 512)
    assert 0 < encoder._seconds(exact, probe) < 10
    monkeypatch.setattr(type(exact), "kind", "cuda")  # what is computed is computed here
    monkeypatch.setattr(encoder, "_seconds", lambda of, _: 1.0 if of.precision == "float32" else halfs)
    assert encoder.fastest(exact).precision == chosen


def test_a_cpu_is_known_by_its_instructions() -> None:
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    assert encoder.has_bfloat16() == any(flag in flags for flag in ("avx512_bf16", "amx_bf16", " bf16"))


def test_a_model_without_a_transformer(tmp_path: Path) -> None:
    folder = tiny_encoder.save_table(tmp_path / "table")
    texts = ["red shoe", "blue", "", "pen", "123"]
    found = encoder.load(folder).encode(texts)
    np.testing.assert_allclose(found.vectors, of_the_library(folder, texts), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), [1, 1, 0, 1, 0], atol=1e-6)
    assert found.tokens == 0
    assert encoder.load(folder).encode([]).vectors.shape == (0, 8)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("batch_tokens", [1, 100, 1000, None])
def test_neither_batches_nor_threads_change_a_vector(tiny_model: Path, batch_tokens: int | None, threads: int) -> None:
    tiny = encoder.in_float32(tiny_model)
    one_by_one = np.concatenate([tiny.encode([text]).vectors for text in TEXTS])
    found = tiny.encode(TEXTS, batch_tokens, threads)
    np.testing.assert_allclose(found.vectors, one_by_one, atol=1e-5)
    if batch_tokens == 1:
        assert found.padding == 0


def test_more_texts_than_are_tokenised_at_once(tiny_model: Path) -> None:
    texts = [f"shoe {n}" for n in range(batch.TOKENISED_AT_ONCE + 10)]
    tiny = encoder.in_float32(tiny_model)
    found = tiny.encode(texts, threads=2).vectors
    some = [0, 77, batch.TOKENISED_AT_ONCE + 9]
    np.testing.assert_allclose(found[some], tiny.encode([texts[i] for i in some]).vectors, atol=1e-5)


def test_no_texts_have_no_vectors(tiny_model: Path) -> None:
    assert encoder.load(tiny_model).encode([]).vectors.shape == (0, 32)


def test_near_texts_have_near_vectors(tiny_model: Path) -> None:
    red, reds, car = encoder.load(tiny_model).encode(["red shoe", "red shoes", "4-door saloon car, blue"]).vectors
    assert red @ reds > red @ car


def test_tokens_are_counted_and_only_what_is_left_out_is_truncated(tiny_model: Path) -> None:
    fits = "x " * (tiny_encoder.LIMIT - 2)  # a token each, and two special ones
    found = encoder.load(tiny_model).encode(["pen", fits, fits + "x", "x " * 100_000], batch_tokens=10_000)
    assert found.tokens == 5 + 3 * tiny_encoder.LIMIT
    assert found.padding == tiny_encoder.LIMIT - 5
    assert found.truncated == 2


def with_memory_for(folder: Path, tokens: int) -> encoder.Encoder:
    """The encoder on a device that computes no more tokens at once."""
    import torch

    class Meter(torch.nn.Module):
        def forward(self, features: dict[str, Any]) -> dict[str, Any]:
            if features["input_ids"].numel() > tokens:
                raise torch.OutOfMemoryError(f"{features['input_ids'].numel()} tokens")
            return features

    loaded = encoder.in_float32(folder)
    loaded.model.append(Meter())
    return loaded


def test_a_device_that_runs_out_of_memory_gets_smaller_batches(tiny_model: Path) -> None:
    expected = encoder.in_float32(tiny_model).encode(TEXTS).vectors
    found = with_memory_for(tiny_model, 70).encode(TEXTS, batch_tokens=1000)
    np.testing.assert_allclose(found.vectors, expected, atol=1e-5)


def test_a_device_without_memory_for_one_text(tiny_model: Path) -> None:
    import torch

    with pytest.raises(torch.OutOfMemoryError, match="64 tokens"):
        with_memory_for(tiny_model, 60).encode(TEXTS)


def test_half_a_precision_is_of_the_transformer_alone(model_of: Callable[..., Path]) -> None:
    exact = encoder.in_float32(model_of(dense=True))
    half = encoder.narrowed(exact, "bfloat16")
    assert {weight.dtype.itemsize for weight in half.model[0].parameters()} == {2}
    assert {weight.dtype.itemsize for weight in half.model[2].parameters()} == {4}
    assert (attention_of(exact), attention_of(half)) == ("sdpa", "eager")
    found, expected = half.encode(TEXTS).vectors, exact.encode(TEXTS).vectors
    said = expected.any(axis=1)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), said, atol=1e-6)  # rounded in half, it would be off by a thousandth
    assert (found * expected).sum(axis=1)[said].mean() > 0.999
    assert (found != expected).any()


def test_attention_of_long_texts_is_not_written_out(model_of: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "SHORT", tiny_encoder.LIMIT - 1)
    assert attention_of(encoder.narrowed(encoder.in_float32(model_of()), "bfloat16")) == "sdpa"


def attention_of(loaded: encoder.Encoder) -> str:
    return str(loaded.model[0].model.config._attn_implementation)


def test_texts_of_no_token(model_of: Callable[..., Path]) -> None:
    """Of a model that adds no special ones."""
    model = encoder.in_float32(model_of())
    model.model[0].processing_kwargs = {"text": {"add_special_tokens": False}}
    found = replace(model, reader=tokens.reader(model.model)).encode(["", "pen", ""], batch_tokens=1)
    assert found.vectors.any(axis=1).tolist() == [False, True, False]
    assert found.unknown == 2


def test_texts_of_which_sentencepiece_knows_nothing(tmp_path: Path) -> None:
    """It reads a blank before a word it does not know, which would make all such texts alike."""
    found = encoder.in_float32(tiny_encoder.save_of_pieces(tmp_path)).encode(["pen", "😀", "🎸", "赤", "", "pen 😀"])
    assert found.vectors.any(axis=1).tolist() == [True, False, False, False, False, True]


def test_the_model_id_is_of_the_content(tiny_model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(tiny_model, copy)
    assert encoder.model_id(copy) == encoder.model_id(tiny_model)
    weights = next(copy.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert encoder.model_id(copy) != encoder.model_id(tiny_model)


def test_a_model_folder_that_is_not_a_model(tmp_path: Path, tiny_model: Path) -> None:
    with pytest.raises(ToolchainError, match="is not a folder"):
        encoder.folder_of(str(tmp_path / "absent"))
    with pytest.raises(ToolchainError, match=r"has no modules\.json.*\n  → set embed\.model"):
        encoder.folder_of(str(tmp_path))
    (tmp_path / "modules.json").write_text("[]")
    with pytest.raises(ToolchainError, match=r"has no tokenizer\.json"):
        encoder.folder_of(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ToolchainError, match=r"no \.safetensors weights"):
        encoder.folder_of(str(tmp_path))


def test_pickled_weights_of_one_module_are_not_loaded(model_of: Callable[..., Path]) -> None:
    folder = model_of(dense=True)
    assert encoder.folder_of(str(folder)) == folder
    weights = next(folder.glob("*_Dense/*.safetensors"))
    weights.rename(weights.with_name("pytorch_model.bin"))
    with pytest.raises(ToolchainError, match=r"pickled weights alone at .*_Dense/pytorch_model\.bin"):
        encoder.folder_of(str(folder))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.safetensors", b"\x10\x00"),  # cut off within its header
        ("model.safetensors", b"\x80\x02}q\x00."),  # a pickle by another name
        ("modules.json", b"[{"),
        ("modules.json", b'[{"idx": 0, "name": "0", "path": "", "type": "nothing.Such"}]'),
        ("config.json", b'{"model_type": "none"}'),
        ("config.json", b'{"model_type": "bert", "hidden_size": "many"}'),
        ("tokenizer.json", b"{}"),
    ],
)
def test_a_damaged_model(tiny_model: Path, tmp_path: Path, file: str, content: bytes) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    (folder / file).write_bytes(content)
    with pytest.raises(ToolchainError, match="does not load"):
        encoder.load(folder)


@pytest.mark.parametrize("part", ["self.query", "encoder.layer.0", "word_embeddings"])
def test_a_model_without_some_of_its_weights(tiny_model: Path, tmp_path: Path, part: str) -> None:
    """The library makes up what is missing, at random."""
    with pytest.raises(ToolchainError, match=rf"lacks \d+ of its weights, the first .*{part}.*\n  → set embed\.model"):
        encoder.load(without(part, tiny_model, tmp_path / "model"))


def test_a_model_without_a_pooler(tiny_model: Path, tmp_path: Path) -> None:
    found = encoder.in_float32(without("pooler", tiny_model, tmp_path / "model")).encode(TEXTS).vectors
    assert np.array_equal(found, encoder.in_float32(tiny_model).encode(TEXTS).vectors)


def without(part: str, model: Path, folder: Path) -> Path:
    """A copy that lacks the weights of that name."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, folder)
    weights = folder / "model.safetensors"
    save_file({name: weight for name, weight in load_file(weights).items() if part not in name}, weights, {"format": "pt"})
    return folder


def test_a_model_that_says_it_reads_more_than_it_does(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    how = folder / "sentence_bert_config.json"
    how.write_text(json.dumps(json.loads(how.read_text()) | {"max_seq_length": tiny_encoder.LIMIT + 1}))
    with pytest.raises(ToolchainError, match=r"fails on a text of 65 tokens: .*\n  → set its max_seq_length to no more"):
        encoder.load(folder)


def test_a_model_whose_weights_are_zero(tiny_model: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    weights = folder / "model.safetensors"
    save_file({name: weight * 0 for name, weight in load_file(weights).items()}, weights, {"format": "pt"})
    with pytest.raises(ToolchainError, match="gives vectors without a direction"):
        encoder.load(folder)


def test_a_tokenizer_that_knows_no_word(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] = {piece: place for piece, place in tokenizer["model"]["vocab"].items() if piece.startswith("[")}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ToolchainError, match="knows no word of 'steel 0 tea 0"):
        encoder.load(folder)


def test_the_built_in_model_is_there() -> None:
    assert encoder.model_id(encoder.folder_of(None)).startswith("all-MiniLM-L6-v2@")
