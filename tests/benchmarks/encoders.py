"""What is compared: encoders of texts, all with the built-in model and two threads, each warmed up before it is timed.

A maker loads its encoder and gives a function from texts to their vectors and the seconds they took.
"""

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from jobs import embed, encoder
from jobs.lake import Lake
from jobs.session import open_session
from jobs.settings import load
from jobs.tables import CLEAN_ITEMS, ITEM_VECTORS
from tests.benchmarks.stage import NIGHT, SETTINGS, frame
from tests.benchmarks.systems import THREADS
from tests.benchmarks.vectors import FOLDER, Vectors

Encode = Callable[[list[str]], tuple[Vectors, float]]
Tokens = dict[str, npt.NDArray[np.int64]]
Run = Callable[[Iterator[Tokens]], Iterable[Vectors]]  # from the tokens of every batch to its vectors, in their order


def timed(encode: Callable[[list[str]], Vectors]) -> Encode:
    def measured(texts: list[str]) -> tuple[Vectors, float]:
        began = time.perf_counter()
        vectors = encode(texts)
        return vectors, time.perf_counter() - began

    return measured


def shelfmates() -> Encode:
    loaded = encoder.load(encoder.folder_of(None))
    return timed(lambda texts: loaded.encode(texts, threads=THREADS).vectors)


def sentence_transformers(precision: str, batch_size: int) -> Callable[[], Encode]:
    def make() -> Encode:
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(THREADS)
        model = SentenceTransformer(str(encoder.folder_of(None)), device="cpu", model_kwargs={"dtype": getattr(torch, precision)})
        return timed(lambda texts: model.encode(texts, batch_size=batch_size, show_progress_bar=False).astype(np.float32))

    return make


def exported() -> Path:
    """The built-in model as an ONNX file, from tokens to unit vectors; kept, since making it takes half a minute."""
    file = FOLDER / "encoder.onnx"
    if not file.is_file():
        from sentence_transformers import SentenceTransformer

        transformer = SentenceTransformer(str(encoder.folder_of(None)), device="cpu")[0].auto_model.eval()

        class Pooled(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.transformer = transformer

            def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
                hidden = self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
                shares = attention_mask.unsqueeze(-1).to(hidden.dtype)
                return torch.nn.functional.normalize((hidden * shares).sum(1) / shares.sum(1))

        sizes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens", max=512)}
        given = torch.ones(2, 8, dtype=torch.long), torch.ones(2, 8, dtype=torch.long)  # one tensor would be exported as one input
        shapes = {"input_ids": sizes, "attention_mask": sizes}
        program = torch.onnx.export(Pooled(), given, dynamo=True, dynamic_shapes=shapes, verbose=False)
        FOLDER.mkdir(parents=True, exist_ok=True)
        program.save(file)
    return file


def by_runtime(compiled: Callable[[Path], Run], batch_size: int) -> Callable[[], Encode]:
    """The exported model, fed as sentence-transformers feeds its own: long texts first, so that a batch has texts of about one length."""

    def make() -> Encode:
        from transformers import AutoTokenizer

        tokenizer, run = AutoTokenizer.from_pretrained(encoder.folder_of(None)), compiled(exported())
        loaded = encoder.load(encoder.folder_of(None))

        def encode(texts: list[str]) -> Vectors:
            order = sorted(range(len(texts)), key=lambda n: -len(texts[n]))
            batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]

            def tokens() -> Iterator[Tokens]:
                for some in batches:
                    read = tokenizer(
                        [texts[n] for n in some], padding=True, truncation=True, max_length=loaded.model.max_seq_length, return_tensors="np"
                    )
                    yield {name: read[name].astype(np.int64) for name in ("input_ids", "attention_mask")}

            found = np.empty((len(texts), loaded.dimension), dtype=np.float32)
            for some, vectors in zip(batches, run(tokens()), strict=True):
                found[some] = vectors
            return found

        return timed(encode)

    return make


def openvino(precision: str, streams: int = 1) -> Callable[[Path], Run]:
    """With so many batches at once, on a share of the threads each; while they are computed the next ones are tokenised."""

    def compiled(file: Path) -> Run:
        from openvino import AsyncInferQueue, Core

        how = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": THREADS, "NUM_STREAMS": streams}
        queue = AsyncInferQueue(Core().compile_model(file, "CPU", how), streams)

        def run(batches: Iterator[Tokens]) -> Iterable[Vectors]:
            found: dict[int, Vectors] = {}
            queue.set_callback(lambda request, place: found.update({place: request.get_output_tensor(0).data.copy()}))
            for place, tokens in enumerate(batches):
                queue.start_async(tokens, place)
            queue.wait_all()
            return [found[place] for place in range(len(found))]

        return run

    return compiled


def onnxruntime(file: Path) -> Run:
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = THREADS
    session = InferenceSession(file, options)
    return lambda batches: (session.run(None, tokens)[0] for tokens in batches)


def shelfmates_stage() -> Encode:
    """Our whole Spark stage, from a table of items to a table of vectors. Its seconds are those between the first worker's being ready and
    the last text's being encoded, as the stage itself tells them: starting Spark and loading the encoder are apart, as they are above."""
    made = tempfile.TemporaryDirectory(prefix="shelfmates-bench-")
    folder = Path(made.name)
    (folder / "shelfmates.toml").write_text(SETTINGS, encoding="utf-8")
    settings = load(folder / "shelfmates.toml", environment={})  # whoever runs this may have overrides
    spark = open_session(settings, name="shelfmates-bench")

    def encode(texts: list[str]) -> tuple[Vectors, float]:
        stage(sorted(texts, key=len)[: 2 * embed.TEXTS_A_TASK])  # Spark ends workers that have been idle for a minute
        return stage(texts)

    def stage(texts: list[str]) -> tuple[Vectors, float]:
        lake = Lake(spark, tempfile.mkdtemp(dir=made.name))
        for table in (CLEAN_ITEMS, ITEM_VECTORS):
            lake.create(table)
        hashes = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        same = {"snapshot_date": NIGHT.date, "source": "bench", "attributes": [], "folded": 0}
        columns = {"item_id": hashes, "title": texts, "text": texts, "content_hash": hashes}
        lake.append(CLEAN_ITEMS, frame(spark, CLEAN_ITEMS, same, columns), NIGHT)
        counts = embed.run(spark, lake, settings, NIGHT)
        stored = {row["content_hash"]: row["vector"] for row in lake.read(ITEM_VECTORS).select("content_hash", "vector").collect()}
        vectors = np.frombuffer(b"".join(stored[key] for key in hashes), dtype="<f4").reshape(len(texts), -1)
        return vectors, len(texts) / counts.figures["items_per_s"]

    return encode


SYSTEMS: dict[str, Callable[[], Encode]] = {
    "sentence-transformers float32 32": sentence_transformers("float32", 32),  # its defaults: the measure of agreement
    "sentence-transformers float32 128": sentence_transformers("float32", 128),
    "sentence-transformers float32 512": sentence_transformers("float32", 512),
    "sentence-transformers bfloat16 32": sentence_transformers("bfloat16", 32),
    "sentence-transformers bfloat16 128": sentence_transformers("bfloat16", 128),
    "sentence-transformers bfloat16 512": sentence_transformers("bfloat16", 512),
    "onnxruntime float32 32": by_runtime(onnxruntime, 32),
    "onnxruntime float32 128": by_runtime(onnxruntime, 128),
    "openvino float32 32": by_runtime(openvino("f32"), 32),
    "openvino float32 32 by two": by_runtime(openvino("f32", streams=2), 32),
    "openvino bfloat16 32": by_runtime(openvino("bf16"), 32),
    "openvino bfloat16 128": by_runtime(openvino("bf16"), 128),
    "openvino bfloat16 512": by_runtime(openvino("bf16"), 512),
    "openvino bfloat16 32 by two": by_runtime(openvino("bf16", streams=2), 32),
    "openvino bfloat16 128 by two": by_runtime(openvino("bf16", streams=2), 128),
    "shelfmates": shelfmates,
    "shelfmates stage": shelfmates_stage,
}
