"""A reproduction in seconds: made-up nodules in small crops, a narrow network, a text encoder of one table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from CLIPLungLib.dataset.data_folder import write_crop, write_nodules
from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.model.text_encoder import PromptTokens, TextEncoder
from CLIPLungLib.reproduction import PUBLISHED_CONFIG
from CLIPLungLib.reproduction.crops import Crops
from CLIPLungLib.reproduction.settings import PublishedSettings
from CLIPLungLib.vocabulary import ATTRIBUTES

PUBLISHED = PublishedSettings.read(PUBLISHED_CONFIG)
TINY = PublishedSettings.from_dict(PUBLISHED.to_dict() | {"width": 2, "epochs": 2, "batch_size": 8})
COUNT = 36
MALIGNANCY = (1.5, 3.0, 4.5)
START, END = "^", "$"


class MarkedLetters(TextEncoder):
    """A frozen text encoder with the real interface: a letter is a token, marks stand around them, later ones count more."""

    name, width, dim = "marked letters", 6, 32

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.table = torch.nn.Parameter(torch.randn(128, self.width, generator=generator))
        self.out = torch.nn.Parameter(torch.randn(self.width, self.dim, generator=generator))
        self.freeze()

    def tokenize(self, texts):
        marked = [START + text + END for text in texts]
        longest = max(map(len, marked))
        ids = torch.tensor([[ord(letter) for letter in text.ljust(longest)] for text in marked])
        return PromptTokens(ids, torch.tensor([[place < len(text) for place in range(longest)] for text in marked]))

    def embed(self, ids):
        return self.table[ids]

    def encode(self, embeddings, mask):
        weight = mask.unsqueeze(2) * torch.arange(1.0, 1.0 + mask.shape[1]).unsqueeze(1)
        return torch.nn.functional.normalize((torch.tanh(embeddings) * weight).sum(1) @ self.out, dim=-1)


def nodule(index: int, **changes: object) -> Nodule:
    """Two nodules a patient, three folds of patients, the three classes in turn; the more malignant, the larger."""
    diameter_mm = 5.0 + 4.0 * (index % 3) + 0.1 * (index % 7)
    values = {
        "nodule_id": f"n{index}",
        "patient_id": f"p{index // 2}",
        "fold": (index // 2) % 3,
        "n_readers": 4,
        "diameter_mm": diameter_mm,
        "volume_mm3": diameter_mm**3 * np.pi / 6,
        "malignancy": MALIGNANCY[index % 3],
        "ratings": {a.name: (1 + (index + place) % len(a.levels),) * 4 for place, a in enumerate(ATTRIBUTES)},
        "point_ras": None,
        "images": {"crop": f"crops/n{index}.nrrd"},
        "slice_index": None,
        "slice_pixel_mm": float("nan"),
    }
    return Nodule(**(values | changes))


NODULES = [nodule(index) for index in range(COUNT)]


def made_up_crops(nodules: list[Nodule] = NODULES) -> Crops:
    """Noise around a brightness that tells the class."""
    rng = np.random.default_rng(0)
    hu = [rng.normal(-600 + 300 * item.label, 100, (32, 32, 32)) for item in nodules]
    shares = np.zeros(len(nodules))
    return Crops(np.array(hu).astype(np.int16), np.arange(len(nodules)), ("crop",) * len(nodules), shares, shares, {})


def make_folder(folder: Path) -> None:
    """A data folder of NODULES: balls in lung, in crops of 4 mm voxels."""
    k, j, i = np.indices((11, 11, 11)) - 5.0
    distance_mm = 4.0 * np.sqrt(k**2 + j**2 + i**2)
    matrix = np.diag([-4.0, -4.0, 4.0, 1.0])
    matrix[:3, 3] = (20.0, 20.0, -20.0)
    for item in NODULES:
        hu = np.where(distance_mm <= item.diameter_mm / 2, 40, -850)
        write_crop(folder / item.images["crop"], CTVolume(hu.astype(np.int16), matrix, item.nodule_id))
    write_nodules(folder, NODULES)
