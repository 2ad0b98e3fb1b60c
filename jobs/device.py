"""Exact search on a device with memory of its own: blocks of one large matrix product, each with its top-k.

On a GPU comparing everything is faster than being clever. Written in device-independent torch, so that the CPU can test it.
"""

import numpy as np
import numpy.typing as npt
import torch

MEMORY_SHARE = 0.5  # of what is free on the device, for one block of similarities and what top-k makes of it
CPU_BYTES = 2**28  # of one block where there is no device to ask
BYTES_A_PAIR = 12  # a query and a vector: of float32 products, their copy in whole groups, and the groups' largest; of float16 ones less
MOST_QUERIES = 16_384
SPARE = 16  # candidates beyond those asked for, which float16 products may have put in another order
GROUP = 32  # products of which the largest is looked at first
ALIGNED = 8  # float16 numbers that a GPU reads at once, if they begin at a multiple of as many
ROUNDING = 2**-10  # a product of unit vectors that are rounded to float16 is off by two half steps of 2^-10 at most
ROUNDING_OF_LARGEST = 0.00176  # ... or six standard deviations: of each component's error, 0.42 · 2^-11 of it, times √2
ROUNDING_OF_PRODUCT = 2**-11  # and by half a step once more, being itself a float16 of about 1 at most


def search(vectors: npt.NDArray[np.float32], width: int, labels: npt.NDArray[np.int32], device: torch.device) -> npt.NDArray[np.int32]:
    """(n, width) int32: the nearest of every vector among the others, NONE (-1) where there are fewer.

    vectors (n, d) float32, rows of unit length; labels (n,) int32 from 0 on, or none: pairs of one label do not count. Products are float16
    with float32 sums; the width + SPARE best of them are computed again in float32. Where rounding could have hidden a better one, as among
    many vectors that are nearly alike, the row is searched again with float32 products. Where the device lacks the memory for a block, it
    and all that follow are halved.
    """
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False  # sums are float32 to their end
    found = np.full((len(vectors), width), -1, dtype=np.int32)
    if not len(vectors):
        return found
    order, firsts = np.arange(len(vectors)), None
    if len(labels):  # those of one label lie together, and are passed over as one part of a row of products
        order = np.argsort(labels, kind="stable")
        firsts = torch.from_numpy(np.flatnonzero(np.diff(labels[order], prepend=-1, append=-1))).to(device)
    exact = torch.from_numpy(vectors[order] if len(labels) else vectors).to(device)
    quick = torch.nn.functional.pad(exact.half(), (0, 0, 0, -len(exact) % (GROUP * ALIGNED)))  # these make whole groups
    rows = query_rows(device, BYTES_A_PAIR * len(quick) + 4 * exact.shape[1] * (width + SPARE))
    off = rounding(exact)
    start = 0
    while start < len(vectors):
        queries = torch.arange(start, min(len(vectors), start + rows), device=device)
        try:
            ids, doubtful = _of_queries(exact, quick, firsts, queries, width, off)
            ids[doubtful] = _of_queries(exact, exact, firsts, queries[doubtful], width, 0.0)[0]
        except torch.OutOfMemoryError:  # another task has taken what was free
            if rows == 1:
                raise
            rows //= 2
            torch.cuda.empty_cache()
            continue
        places = ids.cpu().numpy()
        found[order[start : start + len(queries)]] = np.where(places < 0, -1, order[places])
        start += len(queries)
    return found


def rounding(exact: torch.Tensor) -> float:
    """By how much a float16 product of such vectors is off: hardly ever by more where their numbers are small, never where one is large."""
    return ROUNDING_OF_PRODUCT + min(ROUNDING, ROUNDING_OF_LARGEST * float(exact.abs().max()))


def query_rows(device: torch.device, bytes_a_query: int) -> int:
    """Queries of one block, such that what is computed for them fits."""
    free = torch.cuda.mem_get_info(device)[0] * MEMORY_SHARE if device.type == "cuda" else CPU_BYTES
    return max(1, min(MOST_QUERIES, int(free // bytes_a_query)))


def _of_queries(
    exact: torch.Tensor, targets: torch.Tensor, firsts: torch.Tensor | None, queries: torch.Tensor, width: int, off: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(q, width) int32 nearest of the queries, and which rows (q,) products that are off by so much may have kept a better one from.

    targets: `exact` in the precision of the products, and any rows of padding after it. firsts: where the rows of each label begin, and
    where those of the last one end. queries: in ascending order."""
    similar = products(targets[queries], targets)
    similar[:, len(exact) :] = -torch.inf
    if firsts is None:
        similar.scatter_(1, queries[:, None], -torch.inf)
    else:
        begins = torch.searchsorted(queries, firsts)
        here = begins.diff() > 0
        ends = (side[here].tolist() for side in (begins[:-1], begins[1:], firsts[:-1], firsts[1:]))
        for top_query, end_query, first, end in zip(*ends, strict=True):
            similar[top_query:end_query, first:end] = -torch.inf
    best, ids = top(similar, min(width + SPARE, len(exact)))
    ids.clamp_(max=len(exact) - 1)  # of padding, where there are too few others
    again = torch.bmm(exact[ids], exact[queries][:, :, None])[:, :, 0]
    again.masked_fill_(best == -torch.inf, -torch.inf)
    values, order = again.topk(min(width, again.shape[1]), dim=1)
    kept = ids.gather(1, order).masked_fill_(values == -torch.inf, -1).int()
    doubtful = (best[:, -1].float() + off >= values[:, -1]) & (best[:, -1] > -torch.inf)
    return torch.nn.functional.pad(kept, (0, width - kept.shape[1]), value=-1), doubtful


def top(values: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `width` largest of every row (n, m) and their places, largest first.

    They lie in the `width` groups with the largest maxima: those are found in the same way among fewer, and only their members are looked
    at. A selection by radix reads every value several times, a maximum once.
    """
    rows, count = values.shape
    if count <= GROUP * width:
        return values.topk(width, dim=1)
    if short := -count % GROUP:
        values = torch.nn.functional.pad(values, (0, short), value=-torch.inf)
    apart = values.shape[1] // GROUP  # are the members of a group: maxima of rows that lie below each other are read at full speed
    grouped = values.view(rows, GROUP, apart)
    groups = top(grouped.amax(dim=1), width)[1].clamp_(max=apart - 1)  # where fewer groups hold anything, the others are padding
    members = grouped.gather(2, groups[:, None, :].expand(-1, GROUP, -1)).flatten(1)
    best, places = members.topk(width, dim=1)
    return best, groups.gather(1, places % width) + places // width * apart


def products(queries: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(q, t) in the precision of both, of float32 sums on every device."""
    if queries.device.type == "cuda":
        return queries @ targets.T
    return (queries.float() @ targets.float().T).to(queries.dtype)
