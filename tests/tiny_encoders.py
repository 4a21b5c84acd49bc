"""Tiny random encoders in the real on-disk formats; the tests load them by the real code path."""

import io
import json
import random
from pathlib import Path

import torch

ESM_VOCABULARY = (
    "<cls> <pad> <eos> <unk> L A G V S E R T I D P K Q N F Y M H W C X B U Z O . - <null_1> <mask>".split()
)


def quiet_transformers() -> None:
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def write_esm(
    directory: Path,
    *,
    half: bool = True,
    vocabulary: bool = False,
    token_dropout: bool = False,
    max_positions: int = 68,
    **config: object,
) -> Path:
    """An ``EsmForMaskedLM``, as our own encoder and the ESM-2 checkpoints are stored."""
    from transformers import EsmConfig, EsmForMaskedLM

    torch.manual_seed(1)
    settings = EsmConfig(
        **{
            "vocab_size": 33,
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "position_embedding_type": "rotary",
            "token_dropout": token_dropout,
            "mask_token_id": 32,
            "pad_token_id": 1,
            "max_position_embeddings": max_positions,
            "initializer_range": 0.3,
            "emb_layer_norm_before": False,
            **config,
        }
    )
    model = EsmForMaskedLM(settings)
    (model.half() if half else model).save_pretrained(directory)
    if vocabulary:
        (directory / "vocab.txt").write_text("\n".join(ESM_VOCABULARY), encoding="utf-8")
    return directory


def write_sentencepiece(path: Path) -> None:
    """A unigram model over spaced residues, as ProtT5's: one piece for each space and letter."""
    import sentencepiece

    rng = random.Random(0)
    letters = "ACDEFGHIKLMNPQRSTVWYX"
    sentences = [" ".join(rng.choice(letters) for _ in range(60)) for _ in range(200)]
    buffer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=buffer,
        vocab_size=60,
        hard_vocab_limit=False,
        model_type="unigram",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    path.write_bytes(buffer.getvalue())


def write_t5(directory: Path, *, full: bool = False, pickled: bool = False, half: bool = True) -> Path:
    """A ``T5EncoderModel`` (or, `full`, a T5 with its decoder) with a sentencepiece vocabulary."""
    from transformers import T5Config, T5EncoderModel, T5ForConditionalGeneration

    torch.manual_seed(2)
    settings = T5Config(vocab_size=128, d_model=16, d_kv=4, d_ff=32, num_layers=2, num_heads=4)
    model = (T5ForConditionalGeneration if full else T5EncoderModel)(settings)
    if half:
        model = model.half()
    model.save_pretrained(directory)
    if pickled:
        (directory / "model.safetensors").unlink()
        torch.save(model.state_dict(), directory / "pytorch_model.bin")
    write_sentencepiece(directory / "spiece.model")
    (directory / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}), encoding="utf-8")
    return directory
