"""Training in seconds: made-up nodules, a text encoder of one table, a configuration to go with them."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch

from CLIPLungLib.dataset.nodule_images import PATCH_KINDS
from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.dataset.training_patches import TrainingPatches
from CLIPLungLib.image.patch import PatchSpec
from CLIPLungLib.model.network import NetworkConfig
from CLIPLungLib.model.text_encoder import PromptTokens, TextEncoder
from CLIPLungLib.training import trainer as loop
from CLIPLungLib.training.config import TrainConfig
from CLIPLungLib.training.objective import LossWeights
from CLIPLungLib.vocabulary import ATTRIBUTES

PATCH = PatchSpec(shape=(5, 32, 32), spacing_mm=(2.0, 1.0, 1.0))
LOSSES = LossWeights(
    class_=1.0,
    image_class=1.0,
    image_attribute=1.0,
    class_attribute=0.5,
    rating=1.0,
    diameter=1.0,
    attribute_rating=1.0,
    gate=1.0,
    outline=1.0,
)
CONFIG = TrainConfig(
    train_folds=(0, 1),
    epochs=4,
    batch_size=4,
    learning_rate=1e-3,
    weight_decay=0.02,
    ema_decay=0.998,
    second_reader=False,
    pretrained_trunk=False,
    trunk_rate=1.0,
    slice_share=1.0,
    inserted_share=0.0,
    largest_stack=6,
    empty_planes=3,
    text_encoder="minilm",
    conditioned_texts=1,
    text_interval=2,
    background_patches=1,
    validation_share=0.25,
    seed=0,
    patch=PATCH,
    network=NetworkConfig(planes=5, pixels=32, text_dim=8),
    losses=LOSSES,
)


class LetterEncoder(TextEncoder):
    """A frozen text encoder with the real interface: the mean of a text's letters."""

    name, width, dim = "letters", 6, 8

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.table = torch.nn.Parameter(torch.randn(128, 6, generator=generator))
        self.out = torch.nn.Parameter(torch.randn(6, 8, generator=generator))
        self.freeze()

    def tokenize(self, texts):
        longest = max(len(text) for text in texts)
        ids = torch.tensor([[ord(c) for c in text.ljust(longest)] for text in texts])
        return PromptTokens(ids, torch.tensor([[i < len(text) for i in range(longest)] for text in texts]))

    def embed(self, ids):
        return self.table[ids]

    def encode(self, embeddings, mask):
        mean = (torch.tanh(embeddings) * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True)
        return torch.nn.functional.normalize(mean @ self.out, dim=-1)


def nodule(index: int) -> Nodule:
    """Two nodules a patient, eight a fold; the odd ones large, malignant and of high ratings."""
    large = index % 2 == 1
    return Nodule(
        nodule_id=f"n{index}",
        patient_id=f"p{index // 2}",
        fold=(index // 2) % 5,
        n_readers=4,
        diameter_mm=14.0 if large else 6.0,
        volume_mm3=1436.8 if large else 113.1,
        malignancy=4.5 if large else 1.5,
        ratings={a.name: (min(5, len(a.levels)),) * 4 if large else (1,) * 4 for a in ATTRIBUTES},
        point_ras=None,
        images={},
        slice_index=index,
        slice_pixel_mm=1.0,
    )


NODULES = [nodule(index) for index in range(40)]
CUBE_MM, BACKGROUND_MM = (-4.0, -2.0, 0.0, 2.0, 4.0), (-2.0, 0.0, 2.0)


def tiny_patches() -> TrainingPatches:
    """Bright discs on lung: a slice of every nodule; of the first twelve also a cube with empty planes, and background."""
    y, x = np.mgrid[:48, :48] - 23.5
    hu, outline, height, kinds, owners, counts = [], [], [], [], [], []
    for index, item in enumerate(NODULES):
        disc = np.hypot(y, x) <= item.diameter_mm / 2
        vessel = np.abs(y - x) <= 1.5
        shown = [("slice", (0.0,), disc)]
        if index < 12:
            shown += [("cube", CUBE_MM, disc), ("background", BACKGROUND_MM, np.zeros_like(disc))]
        for kind, heights, contour in shown:
            for z in heights:
                inside = contour & (abs(z) < 1)
                hu.append(np.where(inside | (vessel & (kind == "background")), 40, -850))
                outline.append(inside * 255)
            height += heights
            kinds.append(PATCH_KINDS.index(kind))
            owners.append(index)
            counts.append(len(heights))
    return TrainingPatches(
        hu=np.array(hu, np.int16),
        outline=np.array(outline, np.uint8),
        height_mm=np.array(height, np.float32),
        first_plane=np.concatenate([[0], np.cumsum(counts)[:-1]]),
        plane_count=np.array(counts),
        nodule=np.array(owners),
        kind=np.array(kinds),
        is_outlined=np.array([PATCH_KINDS[kind] != "slice" for kind in kinds]),
    )


def compute_in_single_precision() -> None:
    """No half precision on CPUs that have it, one thread: sums in a fixed order, differences of rounding only."""
    torch.set_num_threads(1)
    loop.autocast = lambda device: nullcontext()


def train_in(folder: Path, config: TrainConfig = CONFIG, device: str | torch.device = "cpu") -> loop.Trainer:
    """A finished training."""
    trainer = loop.Trainer(config, tiny_patches(), NODULES, folder, device, LetterEncoder())
    trainer.run()
    return trainer
