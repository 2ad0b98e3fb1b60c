"""Real sentence-transformers models small enough to be made in a second: one layer of 32 dimensions over single characters, random weights
from a fixed seed. Their vectors mean little, but near texts get near vectors, and everything around them is the real thing."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

LIMIT = 64  # tokens it reads, special ones included


def save(folder: Path, **options: Any) -> Path:
    """Writes the model to `folder` as safetensors, and returns the folder. The options are those of `kept`."""
    import torch
    from sentence_transformers.sentence_transformer import modules
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = folder / "words"
    words.mkdir(parents=True)
    letters = [chr(c) for c in range(33, 127)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=LIMIT,
    )
    BertModel(config).save_pretrained(words)
    BertTokenizerFast(vocab={piece: place for place, piece in enumerate(vocabulary)}, do_lower_case=True).save_pretrained(words)
    return kept(folder, modules.Transformer(str(words), max_seq_length=options.pop("max_seq_length", LIMIT)), **options)


def save_of_pieces(folder: Path) -> Path:
    """The model as `save` writes it, of XLM-RoBERTa's kind: its tokenizer reads pieces of a text whose blanks are letters too."""
    import torch
    from sentence_transformers.sentence_transformer import modules
    from transformers import XLMRobertaConfig, XLMRobertaModel, XLMRobertaTokenizer

    words = folder / "words"
    words.mkdir(parents=True)
    letters = ["\u2581", *(chr(c) for c in range(33, 127))]
    vocabulary = [(piece, 0.0) for piece in ("<s>", "<pad>", "</s>", "<unk>")] + [(letter, -3.0) for letter in letters] + [("<mask>", 0.0)]
    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    XLMRobertaModel(XLMRobertaConfig(vocab_size=len(vocabulary), max_position_embeddings=LIMIT + 2, **size)).save_pretrained(words)
    XLMRobertaTokenizer(vocab=vocabulary).save_pretrained(words)
    return kept(folder, modules.Transformer(str(words), max_seq_length=LIMIT))


def kept(
    folder: Path,
    word_vectors: "nn.Module",
    pooling: str | tuple[str, ...] = "mean",
    include_prompt: bool = True,
    dense: bool = False,
    normalised: bool = True,
    saved_as: str = "float32",
    **options: Any,
) -> Path:
    """The model of what reads words, and of what makes one vector of theirs; further options are the library's, `prompts` for instance."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense
    from sentence_transformers.sentence_transformer import modules

    parts: list[torch.nn.Module] = [word_vectors, modules.Pooling(32, pooling, include_prompt=include_prompt)]
    if dense:
        parts.append(Dense(32, 16, activation_function=torch.nn.Tanh()))
    if normalised:
        parts.append(modules.Normalize())
    SentenceTransformer(modules=parts, device="cpu", **options).to(getattr(torch, saved_as)).save(str(folder / "model"))
    return folder / "model"


def save_table(folder: Path) -> Path:
    """A model that is a table of vectors, one for each letter, and no transformer: of a text without letters it makes zero."""
    import string

    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules
    from tokenizers import Tokenizer
    from tokenizers.models import BPE

    letters = Tokenizer(BPE({letter: place for place, letter in enumerate(string.ascii_letters)}, []))
    torch.manual_seed(0)
    table = modules.StaticEmbedding(letters, embedding_weights=torch.randn(len(string.ascii_letters), 8))
    SentenceTransformer(modules=[table], device="cpu").save(str(folder))
    return folder
