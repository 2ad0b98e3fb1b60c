"""Tokens as the library reads them and fills them up."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs import encoder, tokens
from tests import tiny_encoder

TEXTS = ["Red shoe", "  two\tblanks ", "", "😀 x", "x " * 1000, "product: x"]


@pytest.fixture(scope="module")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    return lambda **options: encoder.in_float32(tiny_encoder.save(tmp_path_factory.mktemp("kind") / "model", **options)).model


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("prompt", [None, "product: "])
@pytest.mark.parametrize("special", [True, False])
def test_features_are_the_librarys(model_of: Callable[..., Any], side: str, prompt: str | None, special: bool) -> None:
    """Whatever it is asked in between."""
    model = model_of(prompts={"item": prompt}, default_prompt_name="item") if prompt else model_of()
    model.tokenizer.padding_side = side
    model[0].processing_kwargs = {"text": {"add_special_tokens": special}}
    reader = tokens.reader(model)
    assert reader is not None
    expected = model.preprocess(TEXTS, prompt=prompt)
    model.tokenizer(["a", "b c"], padding="max_length", max_length=5, truncation=True)
    found = read(reader, TEXTS, 2)
    features = found.padded(np.arange(len(TEXTS)))
    assert features.keys() | reader.same.keys() == expected.keys()
    for name, value in features.items():
        assert np.array_equal(value, expected[name].numpy()), name
    assert {name: expected[name] for name in reader.same} == reader.same
    assert found.truncated.tolist() == [False, False, False, False, True, False]


def read(reader: tokens.Reader, texts: list[str], parts: int = 1) -> tokens.Tokens:
    with ThreadPoolExecutor(parts) as pool:
        return reader.read(texts, pool, parts)


def test_special_tokens_and_a_prompt_are_nothing_understood(model_of: Callable[..., Any]) -> None:
    reader = tokens.reader(model_of(prompts={"item": "product: "}, default_prompt_name="item"))
    assert reader is not None
    assert read(reader, ["red shoe", "", "😀"]).understood.tolist() == [True, False, False]
    assert read(reader, [], 3).understood.tolist() == []


def test_a_prompts_last_blank_may_be_part_of_a_word() -> None:
    """Of tokenizers that read bytes."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    blank = "\u0120"
    vocabulary = {letter: place for place, letter in enumerate([*"query:ab", blank, f"{blank}a"])}
    bytes_alone = Tokenizer(models.BPE(vocabulary, [(blank, "a")]))
    bytes_alone.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    of_bytes = tokens.Reader(bytes_alone, False, "query: ", ("input_ids",), {"input_ids": 0}, False, {}, np.array([], dtype=np.int64))
    assert read(of_bytes, ["a", "b", ""]).understood.tolist() == [True, True, True]  # the blank alone is taken for something too
    assert read(replace(of_bytes, prompt="query:"), ["a", ""]).understood.tolist() == [True, False]


def test_texts_without_a_token(model_of: Callable[..., Any]) -> None:
    model = model_of()
    model[0].processing_kwargs = {"text": {"add_special_tokens": False}}
    reader = tokens.reader(model)
    assert reader is not None
    found = read(reader, ["", ""])
    assert found.lengths.tolist() == [0, 0]
    assert found.padded(np.arange(2))["input_ids"].shape == (2, 0)


def test_what_the_library_reads_otherwise_is_left_to_it(model_of: Callable[..., Any], tmp_path: Path) -> None:
    with_further_features = model_of()
    with_further_features[0].processing_kwargs = {"text": {"return_special_tokens_mask": True}}
    assert tokens.reader(with_further_features) is None
    assert tokens.reader(encoder.in_float32(tiny_encoder.save_table(tmp_path / "table")).model) is None


def test_a_tokenizer_that_cannot_fill_up_a_batch(model_of: Callable[..., Any]) -> None:
    model = model_of()
    model.tokenizer.pad_token = None
    with pytest.raises(ValueError, match="its tokenizer has no padding token"):
        tokens.reader(model)
