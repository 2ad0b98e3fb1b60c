"""Which scripts an encoder knows."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jobs import encoder, lexicon, script, spelling
from jobs.errors import ToolchainError


def test_pieces_of_several_letters_make_a_script_known() -> None:
    known = script.known(
        [*(f"ab{n}" for n in range(200)), *("при" for _ in range(50)), *"абвгд", *map(chr, range(0x4E00, 0x4E00 + 300)), "##茶", "##1", ""]
    )
    assert known == {"LATIN": 1.0, "CYRILLIC": pytest.approx(0.5), "CJK": pytest.approx(0.1, abs=0.001)}


def test_the_built_in_encoder_knows_latin_alone() -> None:
    known = script.known_to(encoder.folder_of(None))
    assert known.pop("LATIN") == 1
    assert max(known.values()) < 0.1


def test_weights_by_code_point() -> None:
    weights = script.weights({"LATIN": 1.0, "CYRILLIC": 0.5})
    assert [weights[ord(letter)] for letter in "aÉ1 жא"] == [1, 1, -1, -1, 0.5, 0]
    assert weights.dtype == np.float32
    assert (script.weights(script.known("абвabc"))[[ord("a"), ord("ж"), ord("5")]] == [1, 1, -1]).all()


def test_what_only_tells_how_a_text_is_drawn_is_no_letter() -> None:
    flag = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
    texts, found = ["flag", f"flag {flag}", "flag\U000e0100", "茶", "\U00020000"], np.empty(5, dtype=np.float32)
    spelling.familiar(*lexicon.encoded(pa.array(texts)), script.weights({"LATIN": 1.0}), found)
    assert found.tolist() == [1, 1, 1, 0, 0]


def test_a_model_without_a_fast_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match=r"has no tokenizer.json\n  → save it with a fast tokenizer"):
        script.known_to(tmp_path)
