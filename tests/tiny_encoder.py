"""A real sentence-transformers model small enough to be made in a second: one layer of 32 dimensions over single characters, random weights
from a fixed seed. Its vectors mean little, but near texts get near vectors, and everything around them is the real thing."""

from pathlib import Path


def save(folder: Path) -> Path:
    """Writes the model to `folder` as safetensors, and returns the folder."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True)
    words = folder / "words"
    words.mkdir()
    letters = [chr(c) for c in range(33, 127)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(words)
    BertTokenizerFast(vocab={piece: place for place, piece in enumerate(vocabulary)}, do_lower_case=True).save_pretrained(words)
    word_vectors = modules.Transformer(str(words), max_seq_length=64)
    pooling = modules.Pooling(word_vectors.get_embedding_dimension())
    SentenceTransformer(modules=[word_vectors, pooling, modules.Normalize()], device="cpu").save(str(folder / "model"))
    return folder / "model"
