"""The encoder on a tiny real model: order, lengths, batches, and folders that are no models."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import encoder
from jobs.errors import ToolchainError


def test_vectors_stand_in_the_order_of_their_texts_whatever_the_batches(tiny_model: Path) -> None:
    texts = ["red shoe", "a much longer name of a blue car with four doors", "", "red shoes", "茶", "x" * 100_000]
    tiny = encoder.load(tiny_model)
    one_by_one = np.concatenate([tiny.encode([text], batch_tokens=256) for text in texts])
    together = tiny.encode(texts, batch_tokens=256)
    assert together.shape == (6, 32)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, one_by_one, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_near_texts_have_near_vectors(tiny_model: Path) -> None:
    red, reds, car = encoder.load(tiny_model).encode(["red shoe", "red shoes", "4-door saloon car, blue"], batch_tokens=256)
    assert red @ reds > red @ car


@given(st.lists(st.integers(1, 300), max_size=50))
def test_batches_hold_every_row_once_and_keep_to_the_budget(lengths: list[int]) -> None:
    cut = list(encoder.batches(np.array(lengths, dtype=np.int64), batch_tokens=256))
    assert sorted(row for batch in cut for row in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= 256 for batch in cut)


def test_the_model_id_changes_with_the_weights_alone(tiny_model: Path, tmp_path: Path) -> None:
    import shutil

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
    with pytest.raises(ToolchainError, match=r"no \.safetensors weights"):
        encoder.folder_of(str(tmp_path))


def test_the_built_in_model_is_there() -> None:
    assert encoder.model_id(encoder.folder_of(None)).startswith("all-MiniLM-L6-v2@")
