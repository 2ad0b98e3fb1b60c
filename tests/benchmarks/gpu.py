"""What a GPU makes of the two stages that use one, beside what it can do at most (`make bench-gpu`):

    search    the 10 nearest of every vector of the hard set, exactly: ours, and the matrix product with torch's top-k one would write
    encode    texts to vectors by the built-in model (`--model` names another folder) and by one of BERT-base's size with random weights:
              ours, and sentence-transformers' loop in the same precision, at the better of two batch sizes

The share is that of the tensor cores' peak, measured on a large product in bfloat16: of a search the products of all pairs, of an encoder
two operations a token for each weight of its matrices and those of its attention. `computed` is the encoder on batches that lie ready,
`encoded` the whole way from text to vector, of texts that are met for the first time, as a night's are. Needs neither Spark nor a lake.
Writes build/bench/gpu.json.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from jobs import device, encoder
from jobs.batch import Batch, batches
from tests.benchmarks.texts import MIXES
from tests.benchmarks.vectors import FOLDER, hard

K = 10
SAMPLED = 2_000
TIE = 1e-6
PEAK_SIZE, PEAK_TURNS = 8192, 20
LIBRARY_BATCHES = (128, 512)
WARM_UP = 4  # every so many-th text is not measured


def once(work: Callable[[], Any]) -> tuple[Any, float]:
    """What the work gives, and its seconds."""
    torch.cuda.synchronize()
    began = time.perf_counter()
    found = work()
    torch.cuda.synchronize()
    return found, time.perf_counter() - began


def timed(work: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    """What the work gives, and the median of its seconds after a first, uncounted time."""
    work()
    found, taken = zip(*(once(work) for _ in range(repeats)), strict=True)
    return found[-1], statistics.median(taken)


def peak() -> float:
    """Operations a second of a large product in bfloat16."""
    left, right = (torch.randn(PEAK_SIZE, PEAK_SIZE, device="cuda", dtype=torch.bfloat16) for _ in range(2))

    def products() -> None:
        for _ in range(PEAK_TURNS):
            left @ right

    return PEAK_TURNS * 2 * PEAK_SIZE**3 / timed(products, 5)[1]


def plain(vectors: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.int32]:
    """The search one would write: bfloat16 products of blocks, and torch's top-k of them."""
    rows = torch.from_numpy(vectors).to("cuda", torch.bfloat16)
    found = np.empty((len(rows), k), dtype=np.int32)
    for start in range(0, len(rows), 4096):
        products = rows[start : start + 4096] @ rows.T
        places = torch.arange(len(products), device="cuda")
        products[places, places + start] = -torch.inf
        found[start : start + len(products)] = products.topk(k, dim=1).indices.cpu()
    return found


def recall(vectors: npt.NDArray[np.float32], found: npt.NDArray[np.int32]) -> float:
    """Share of sampled rows' k nearest, ties by similarity, by brute force on the CPU in float32."""
    rows = np.random.default_rng(1).choice(len(vectors), min(SAMPLED, len(vectors)), replace=False)
    hits = 0
    for part in np.array_split(rows, max(1, len(rows) // 100)):
        similar = vectors[part] @ vectors.T
        similar[np.arange(len(part)), part] = -np.inf
        kth = np.partition(similar, -K, axis=1)[:, -K, None]
        listed = np.where(found[part] >= 0, np.take_along_axis(similar, found[part].astype(np.int64), axis=1), -np.inf)
        hits += int((listed >= kth - TIE).sum())
    return hits / (K * len(rows))


def off(vectors: npt.NDArray[np.float32]) -> tuple[float, float]:
    """By how much float16 products were off at most, of few and of many queries, and the bound that is taken for it."""
    exact = torch.from_numpy(vectors).cuda()
    most = 0.0
    for queries in (1, 16, 300, 4096):
        some = exact[:queries]
        found = device.products(some.half(), exact.half())
        most = max(most, float((found.double() - some.double() @ exact.double().T).abs().max()))
    return most, device.rounding(exact)


def searches(rows: int, repeats: int, peak_rate: float) -> list[dict[str, Any]]:
    vectors, nobody = hard(rows), np.empty(0, dtype=np.int32)
    of_sources = (np.arange(rows) % 5).astype(np.int32)
    ways: dict[str, Callable[[], npt.NDArray[np.int32]]] = {
        "torch: product, top-k": lambda: plain(vectors, K),
        "shelfmates": lambda: device.search(vectors, K, nobody, torch.device("cuda")),
        "shelfmates, across sources": lambda: device.search(vectors, K, of_sources, torch.device("cuda")),
    }
    found = []
    for system, way in ways.items():
        torch.cuda.reset_peak_memory_stats()
        lists, seconds = timed(way, repeats)
        row = {
            "system": system,
            "rows": rows,
            "k": K,
            "seconds": round(seconds, 3),
            "share_of_peak": round(2 * rows**2 * vectors.shape[1] / seconds / peak_rate, 4),
            "peak_mb": round(torch.cuda.max_memory_allocated() / 2**20),
        }
        if "across" not in system:
            row["recall"] = recall(vectors, lists)
        print(f"  {row}", flush=True)
        found.append(row)
    most, bound = off(vectors[:200_000])
    print(f"  float16 products are off by {most:.6f} at most; {bound:.6f} is allowed for", flush=True)
    return found


def large(folder: Path, made: Path) -> Path:
    """An encoder of BERT-base's size, 110 M parameters, with random weights and the folder's tokenizer, in a folder under `made`."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules
    from transformers import AutoTokenizer, BertConfig, BertModel

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(made / "words")
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(tokenizer))).save_pretrained(made / "words")
    transformer = modules.Transformer(str(made / "words"), max_seq_length=256)
    SentenceTransformer(modules=[transformer, modules.Pooling(768), modules.Normalize()], device="cpu").save(str(made / "model"))
    return made / "model"


def operations(model: Any, ready: list[Batch]) -> float:
    """Of a transformer on these batches, padding left out: two a token for each weight of a layer's matrices, and its attention's."""
    size, layers = model.config.hidden_size, model.config.num_hidden_layers
    weights = sum(weight.numel() for weight in model.encoder.parameters() if weight.dim() == 2)
    lengths = np.concatenate([batch.lengths for batch in ready]).astype(np.float64)
    return float((2 * weights * lengths + 4 * layers * size * lengths**2).sum())


def encoders(folders: dict[str, Path], mixes: dict[str, list[str]], threads: int, repeats: int, peak_rate: float) -> list[dict[str, Any]]:
    rows = []
    for name, where in folders.items():
        loaded = encoder.load(where)
        for data, texts in mixes.items():
            warm_up, measured = texts[::WARM_UP], [text for n, text in enumerate(texts) if n % WARM_UP]
            row = {"system": f"shelfmates, {name}, {loaded.precision}", "data": data, "items": len(measured), "threads": threads}
            rows.append(row | of_ours(loaded, warm_up, measured, threads, repeats, peak_rate))
            print(f"  {rows[-1]}", flush=True)
            library = [of_the_library(where, loaded.precision, warm_up, measured, size) for size in LIBRARY_BATCHES]
            rows.append({"system": f"sentence-transformers, {name}, {loaded.precision}", "data": data, "items": len(measured)})
            rows[-1]["encoded_tokens_per_s"] = round(rows[-2]["tokens"] / min(library))
            print(f"  {rows[-1]}", flush=True)
    return rows


def of_ours(loaded: encoder.Encoder, warm_up: list[str], texts: list[str], threads: int, repeats: int, peak_rate: float) -> dict[str, Any]:
    loaded.encode(warm_up, threads=threads)
    found, encoded = once(lambda: loaded.encode(texts, threads=threads))
    ready = list(batches(loaded.reader, texts, encoder.BATCH_TOKENS_OF_HALVES["cuda"]))
    _, computed = timed(lambda: [loaded.vectors_of(batch) for batch in ready], repeats)
    return {
        "tokens": found.tokens,
        "padding_share": round(found.padding / (found.tokens + found.padding), 4),
        "computed_tokens_per_s": round(found.tokens / computed),
        "encoded_tokens_per_s": round(found.tokens / encoded),
        "share_of_peak": round(operations(loaded.model[0].auto_model, ready) / computed / peak_rate, 4),
    }


def of_the_library(folder: Path, precision: str, warm_up: list[str], texts: list[str], batch_size: int) -> float:
    """Seconds of its own loop, with torch's own choice of kernels."""
    from sentence_transformers import SentenceTransformer

    torch.backends.cuda.enable_cudnn_sdp(True)
    model = SentenceTransformer(str(folder), device="cuda", model_kwargs={"dtype": getattr(torch, precision)})
    model.encode(warm_up, batch_size=batch_size, show_progress_bar=False)
    seconds = once(lambda: model.encode(texts, batch_size=batch_size, show_progress_bar=False))[1]
    torch.backends.cuda.enable_cudnn_sdp(False)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=4, help="of the encoder")
    parser.add_argument("--only", choices=["search", "encode"])
    parser.add_argument("--model", type=Path, help="the encoder's folder; the built-in one's if left out")
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no GPU is to be seen here\n  → run this on a machine that has one (`shelfmates doctor` tells)")
    rate = peak()
    print(f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}: {rate / 1e12:.0f} TFLOP/s of a large bfloat16 product", flush=True)
    rows = []
    if asked.only != "encode":
        rows += searches(asked.rows, asked.repeats, rate)
    if asked.only != "search":
        folder = asked.model or encoder.folder_of(None)
        mixes = {name: mix(asked.items) for name, mix in MIXES.items()}
        with tempfile.TemporaryDirectory(prefix="shelfmates-bench-") as made:
            folders = {"MiniLM": folder, "BERT-base": large(folder, Path(made))}
            rows += encoders(folders, mixes, asked.threads, asked.repeats, rate)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "gpu.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
