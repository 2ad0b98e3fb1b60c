"""Exact search on a device with memory of its own: blocks of one large matrix product, each with its top-k.

On a GPU comparing everything is faster than being clever. Written in device-independent torch, so that the CPU can test it.
"""

import numpy as np
import numpy.typing as npt
import torch

MEMORY_SHARE = 0.5  # of what is free on the device, for one block of similarities and what top-k makes of it
CPU_BYTES = 2**28  # of one block where there is no device to ask
BYTES_A_PAIR = 16  # float32, its bfloat16 origin, and top-k's working copies
TARGET_ROWS = 65_536
SPARE = 16  # candidates beyond those asked for, which bfloat16 products may have put in another order
ROUNDING = 0.008  # a product of unit vectors that are rounded to bfloat16 is off by two half steps of 2^-7 at most
ROUNDING_OF_LARGEST = 0.0141  # ... or six standard deviations: of each component's error, 0.42 · 2^-8 of it, times √2


def search(vectors: npt.NDArray[np.float32], width: int, labels: npt.NDArray[np.int32], device: torch.device) -> npt.NDArray[np.int32]:
    """(n, width) int32: the nearest of every vector among the others, NONE (-1) where there are fewer.

    vectors (n, d) float32, rows of unit length; labels (n,) int32, or none: pairs of one label do not count. Products are bfloat16 with
    float32 sums; the width + SPARE best of them are computed again in float32. Where rounding could have hidden a better one, as
    among many vectors that are nearly alike, the row is searched again with float32 products. Where the device lacks the memory for a
    block, it and all that follow are halved.
    """
    exact = torch.from_numpy(vectors).to(device)
    quick = exact.bfloat16()
    unlike = torch.from_numpy(labels if len(labels) else np.arange(len(vectors), dtype=np.int32)).to(device)
    rows = query_rows(device, min(len(vectors), TARGET_ROWS))
    found = np.full((len(vectors), width), -1, dtype=np.int32)
    rounding = min(ROUNDING, ROUNDING_OF_LARGEST * float(exact.abs().max())) if len(vectors) else 0.0
    start = 0
    while start < len(vectors):
        queries = torch.arange(start, min(len(vectors), start + rows), device=device)
        try:
            ids, doubtful = _of_queries(exact, quick, unlike, queries, width, rounding)
            ids[doubtful] = _of_queries(exact, exact, unlike, queries[doubtful], width, 0.0)[0]
        except torch.OutOfMemoryError:  # another task has taken what was free
            if rows == 1:
                raise
            rows //= 2
            torch.cuda.empty_cache()
            continue
        found[start : start + len(queries)] = ids.cpu().numpy()
        start += len(queries)
    return found


def query_rows(device: torch.device, targets: int) -> int:
    """Queries of one block, such that its similarities with the targets fit."""
    free = torch.cuda.mem_get_info(device)[0] * MEMORY_SHARE if device.type == "cuda" else CPU_BYTES
    return max(1, min(16_384, int(free // (BYTES_A_PAIR * max(1, targets)))))


def _of_queries(
    exact: torch.Tensor, quick: torch.Tensor, labels: torch.Tensor, queries: torch.Tensor, width: int, rounding: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(q, width) int32 nearest of the queries, and which rows (q,) products that are off by so much may have kept a better one from."""
    best = torch.full((len(queries), 0), -torch.inf, device=quick.device)
    ids = torch.empty((len(queries), 0), dtype=torch.int64, device=quick.device)
    for start in range(0, len(quick), TARGET_ROWS):
        similarities = _products(quick[queries], quick[start : start + TARGET_ROWS])
        similarities.masked_fill_(labels[queries, None] == labels[None, start : start + TARGET_ROWS], -torch.inf)
        values, places = similarities.topk(min(width + SPARE, similarities.shape[1]), dim=1)
        best, ids = torch.cat([best, values], dim=1), torch.cat([ids, places + start], dim=1)
        best, order = best.topk(min(width + SPARE, best.shape[1]), dim=1)
        ids = ids.gather(1, order)
    again = torch.stack([(exact[queries] * exact[column]).sum(dim=1) for column in ids.T], dim=1)
    again.masked_fill_(best == -torch.inf, -torch.inf)
    values, order = again.topk(min(width, again.shape[1]), dim=1)
    kept = ids.gather(1, order).masked_fill_(values == -torch.inf, -1).int()
    doubtful = (best[:, -1] + rounding >= values[:, -1]) & (best[:, -1] > -torch.inf)
    return torch.nn.functional.pad(kept, (0, width - kept.shape[1]), value=-1), doubtful


def _products(queries: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """float32 sums of products of either precision, on every device."""
    if queries.dtype == torch.bfloat16 and queries.device.type == "cuda":
        return torch.mm(queries, targets.T, out_dtype=torch.float32)
    return queries.float() @ targets.float().T
