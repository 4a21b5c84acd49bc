"""The masked-language-model head, against transformers' own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mutscan.embed import load_encoder
from mutscan.embed.head import load_head
from mutscan.errors import CheckpointError
from mutscan.residues import STANDARD

SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ"
LETTERS = [4 + "LAGVSERTIDPKQNFYMHWC".index(letter) for letter in STANDARD]


@pytest.fixture
def folder(tmp_path):
    from transformers import EsmConfig, EsmForMaskedLM

    torch.manual_seed(0)
    config = EsmConfig(
        vocab_size=33, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=1026, position_embedding_type="rotary", mask_token_id=32, pad_token_id=1,
        token_dropout=False, emb_layer_norm_before=False, layer_norm_eps=1e-3, attn_implementation="eager",
    )  # fmt: skip
    network = EsmForMaskedLM(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    network.save_pretrained(tmp_path)
    return tmp_path, network


def test_equals_transformers(folder):
    path, network = folder
    ids = [0, *(4 + "LAGVSERTIDPKQNFYMHWC".index(letter) for letter in SEQUENCE), 2]
    with torch.no_grad():
        logits = network(torch.tensor([ids])).logits[0, 1:-1]
    expected = torch.log_softmax(logits[:, LETTERS], dim=-1).numpy()
    head = load_head(str(path))
    assert head is not None
    found = head.log_probabilities(load_encoder(str(path), device="cpu").embed_one(SEQUENCE))
    assert found.shape == (len(SEQUENCE), 20)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_bare_encoder_has_none_and_half_a_head_is_refused(folder):
    path, _ = folder
    state = load_file(path / "model.safetensors")
    part = {name: value for name, value in state.items() if name != "lm_head.dense.bias"}
    save_file(part, path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"no lm_head\.dense\.bias"):
        load_head(str(path))
    bare = {name: value for name, value in state.items() if not name.startswith("lm_head.")}
    save_file(bare, path / "model.safetensors")
    assert load_head(str(path)) is None
