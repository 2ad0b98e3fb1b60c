"""Products in blocks against one plain product."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from jobs import gemm, kernel

ERROR = {torch.float32: 1e-5, torch.bfloat16: float(kernel.ROUNDING)}  # of unit vectors; the second is what `kernel.merge` counts on


@pytest.fixture
def not_measured_yet() -> Iterator[None]:
    gemm.fastest.cache_clear()
    yield
    gemm.fastest.cache_clear()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("queries", "targets"), [(1, 1), (512, 1024), (513, 1025), (1300, 40), (3, 2100)])
def test_blocks_cover_every_pair_once(queries: int, targets: int, precision: torch.dtype) -> None:
    """Nothing of the filling is counted, and the blocks of a query come one after the other."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(2200, 64, generator=generator))
    asking, names = np.arange(queries)[::-1].copy(), np.arange(targets) + 50
    quick = vectors.to(precision)
    met, starts = np.full((queries, targets), np.nan), []
    for mine, theirs, products in gemm.products(gemm.rows(quick, asking), gemm.rows(quick, names), queries, targets):
        assert np.isnan(met[mine, theirs]).all()
        assert products.dtype == np.float32
        assert products.flags.c_contiguous  # as the kernels demand
        met[mine, theirs] = products[: mine.stop - mine.start, : theirs.stop - theirs.start]
        starts.append((mine.start, theirs.start))
    assert starts == sorted(starts)
    expected = (vectors[torch.from_numpy(asking)].double() @ vectors[torch.from_numpy(names)].double().T).numpy()
    assert np.abs(met - expected).max() < ERROR[precision]  # nan where a pair was never met, which is below nothing


@pytest.mark.parametrize(("asked", "given"), [(0, 0), (1, gemm.STEP), (gemm.STEP, gemm.STEP), (gemm.STEP + 1, 2 * gemm.STEP)])
def test_rows_come_in_multiples(asked: int, given: int) -> None:
    vectors = torch.arange(300.0)[:, None].repeat(1, 3)
    positions = np.arange(asked, dtype=np.int32)[::-1] + 7
    found = gemm.rows(vectors, positions)
    assert found.shape == (given, 3)
    assert found[:asked, 0].tolist() == positions.tolist()


@pytest.mark.parametrize(
    ("float32", "bfloat16", "fastest"),
    [
        (4.0, 1.0, torch.bfloat16),
        (1.1, 1.0, torch.float32),  # noise
        (1.0, 9.0, torch.float32),  # emulated
    ],
)
def test_bfloat16_has_to_be_worth_it(
    not_measured_yet: None, monkeypatch: pytest.MonkeyPatch, float32: float, bfloat16: float, fastest: torch.dtype
) -> None:
    monkeypatch.setattr(gemm, "seconds", {torch.float32: float32, torch.bfloat16: bfloat16}.__getitem__)
    assert gemm.fastest() == fastest


def test_this_machine_is_measured_once(not_measured_yet: None, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []
    real = gemm.seconds
    monkeypatch.setattr(gemm, "seconds", lambda dtype: measured.append(dtype) or real(dtype))
    first = gemm.fastest()
    assert first in (torch.float32, torch.bfloat16)
    assert gemm.fastest() == first
    assert measured == [torch.float32, torch.bfloat16]
