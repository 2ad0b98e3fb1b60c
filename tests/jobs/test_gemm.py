"""Products in blocks against one plain product."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from jobs import gemm, int8
from jobs.kernel import LANES

PRECISIONS = [torch.float32, torch.bfloat16, torch.int8]


@pytest.fixture
def not_measured_yet() -> Iterator[None]:
    gemm.fastest.cache_clear()
    yield
    gemm.fastest.cache_clear()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("queries", "targets"), [(1, 1), (512, 1024), (513, 1025), (1300, 40), (3, 2100)])
def test_blocks_cover_every_pair_once(queries: int, targets: int, precision: torch.dtype) -> None:
    """Nothing of the filling is counted, and the blocks of a query come one after the other."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(2200, 64, generator=generator))
    asking, names = np.arange(queries)[::-1].copy(), np.arange(targets) + 50
    quick = gemm.matrix(vectors, precision)
    met, starts = np.full((queries, targets), np.nan), []
    for mine, theirs, products in gemm.products(quick[asking], quick[names]):
        assert np.isnan(met[mine, theirs]).all()
        assert products.dtype == (np.int32 if precision == torch.int8 else np.float32)
        assert products.flags.c_contiguous  # as the kernels demand
        met[mine, theirs] = products[: mine.stop - mine.start, : theirs.stop - theirs.start] * quick.unit**2
        starts.append((mine.start, theirs.start))
    assert starts == sorted(starts)
    expected = (vectors[torch.from_numpy(asking)].double() @ vectors[torch.from_numpy(names)].double().T).numpy()
    error = 1e-5 if precision == torch.float32 else quick.rounding
    assert np.abs(met - expected).max() < error  # nan where a pair was never met, which is below nothing


@pytest.mark.parametrize(("rows", "filled"), [(0, 0), (1, LANES), (LANES, LANES), (LANES + 1, 2 * LANES)])
def test_rows_come_in_multiples(rows: int, filled: int) -> None:
    vectors = torch.arange(float(rows))[:, None].repeat(1, 3)
    found = gemm.Matrix(vectors).filled().values
    assert found.shape == (filled, 3)
    assert found[:rows].equal(vectors)


def test_eight_bits_hold_the_largest_component_and_saturate_beyond() -> None:
    vectors = torch.tensor([[0.5, -0.25, 0.0], [0.0, 0.1, 0.0]])
    narrow = gemm.matrix(vectors, torch.int8)
    assert narrow.values.tolist() == [[79, -40, 0, 0], [0, 16, 0, 0]]  # filled up
    assert torch.allclose(narrow.widened()[:, :3], vectors, atol=narrow.unit / 2)
    assert narrow.like(torch.tensor([[2.0, -2.0, 0.0]])).values.tolist() == [[79, -79, 0, 0]]


@pytest.mark.parametrize("rows", [0, 3])
def test_eight_bits_of_nothing(rows: int) -> None:
    assert gemm.matrix(torch.zeros(rows, 4), torch.int8).widened().tolist() == [[0.0] * 4] * rows


@pytest.mark.parametrize(
    ("float32", "bfloat16", "int8", "fastest"),
    [
        (8.0, 2.0, 1.0, torch.int8),
        (8.0, 1.0, 2.0, torch.int8),  # always the same of two that are fast
        (4.0, 1.0, float("inf"), torch.bfloat16),  # its sums overflow
        (1.1, 1.0, 1.0, torch.float32),  # noise
        (1.0, 9.0, 2.0, torch.float32),  # both emulated
    ],
)
def test_a_narrow_precision_has_to_be_worth_it(
    not_measured_yet: None, monkeypatch: pytest.MonkeyPatch, float32: float, bfloat16: float, int8: float, fastest: torch.dtype
) -> None:
    monkeypatch.setattr(gemm, "seconds", {torch.float32: float32, torch.bfloat16: bfloat16, torch.int8: int8}.__getitem__)
    assert gemm.fastest() == fastest


def test_sums_that_overflow_are_never_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where 8-bit integers can be multiplied by torch alone."""
    assert gemm.seconds(torch.int8) < float("inf")
    monkeypatch.setattr(gemm, "_product_of_int8", lambda: saturating)
    assert gemm.seconds(torch.int8) == float("inf")


def saturating(queries: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return torch._int_mm(queries, targets.T).clamp(max=2**14)


@pytest.mark.skipif(not int8.HERE, reason="no AVX2 here")
def test_the_faster_of_two_products_that_agree_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    choose = gemm._product_of_int8.__wrapped__
    took = {gemm._by_torch: 1.0, gemm._by_avx2: 2.0}
    monkeypatch.setattr(gemm, "_seconds", lambda product, values: took[product])
    assert choose() is gemm._by_torch
    took[gemm._by_torch] = 3.0
    assert choose() is gemm._by_avx2
    monkeypatch.setattr(gemm, "_by_torch", saturating)
    took[saturating] = 1.0
    assert choose() is gemm._by_avx2
    monkeypatch.setattr(int8, "HERE", False)
    assert choose() is saturating


def test_a_precision_that_is_emulated_is_measured_with_two_products(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = gemm.multiplied
    monkeypatch.setattr(gemm, "multiplied", lambda queries, targets: asked.append(1) or real(queries, targets))
    monkeypatch.setattr(gemm, "EMULATED", 0.0)
    assert gemm.seconds(torch.float32) > 0
    assert len(asked) == 2


def test_this_machine_is_measured_once(not_measured_yet: None, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []
    real = gemm.seconds
    monkeypatch.setattr(gemm, "seconds", lambda dtype: measured.append(dtype) or real(dtype))
    first = gemm.fastest()
    assert first in PRECISIONS
    assert gemm.fastest() == first
    assert len(measured) >= 2
    assert measured == [torch.float32, torch.int8, torch.bfloat16][: len(measured)]
