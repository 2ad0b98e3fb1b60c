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
def test_features_are_the_librarys(model_of: Callable[..., Any], side: str, prompt: str | None) -> None:
    model = model_of(prompts={"item": prompt}, default_prompt_name="item") if prompt else model_of()
    model.tokenizer.padding_side = side
    reader = tokens.reader(model)
    assert reader is not None
    with ThreadPoolExecutor(2) as pool:
        encodings = reader.read(TEXTS, pool, 2)
    found = reader.features(encodings, np.array(list(map(len, encodings))))
    expected = model.preprocess(TEXTS, prompt=prompt)
    assert found.keys() | reader.same.keys() == expected.keys()
    for name, value in found.items():
        assert np.array_equal(value, expected[name].numpy()), name
    assert {name: expected[name] for name in reader.same} == reader.same


def test_special_tokens_and_a_prompt_are_nothing_known(model_of: Callable[..., Any]) -> None:
    reader = tokens.reader(model_of(prompts={"item": "product: "}, default_prompt_name="item"))
    assert reader is not None
    assert reader.of_nothing == len("product:")
    with ThreadPoolExecutor(1) as pool:
        encodings = reader.read(["red shoe", "", "😀"], pool, 1)
        assert reader.read([], pool, 3) == []
    lengths = np.array(list(map(len, encodings)))
    assert (reader.known(encodings, lengths) - reader.of_nothing).tolist() == [7, 0, 0]
    assert reader.known(encodings[:0], lengths[:0]).tolist() == []
    without = [replace(reader, prompt="").tokenizer.encode("", add_special_tokens=False)]  # no token at all
    assert reader.known(without * 2, np.array([0, 0])).tolist() == [0, 0]


def test_what_the_library_reads_otherwise_is_left_to_it(model_of: Callable[..., Any], tmp_path: Path) -> None:
    without_special_tokens = model_of()
    without_special_tokens[0].processing_kwargs = {"text": {"add_special_tokens": False}}
    assert tokens.reader(without_special_tokens) is None
    assert tokens.reader(encoder.in_float32(tiny_encoder.save_table(tmp_path / "table")).model) is None
