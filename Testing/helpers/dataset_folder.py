"""A made-up LIDC folder."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES

NODULES = 30


def write_volume(
    array: np.ndarray, file: Path, origin: tuple[float, float, float], spacing: tuple[float, float, float]
) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)  # LPS
    file.parent.mkdir(exist_ok=True)
    sitk.WriteImage(image, str(file))


def make_folder(root: Path) -> None:
    """Thirty nodules of 6 or 14 mm with a slice each; number 0 has a volume with a mask off its centre, too."""
    y, x = np.mgrid[:71, :71] - 35.0
    slices, rows = [], []
    for index in range(NODULES):
        large = index % 2
        diameter = 14.0 if large else 6.0
        slices.append(np.where(np.hypot(x, y) * 0.7 <= diameter / 2, 40, -850))
        ratings = dict.fromkeys(ATTRIBUTE_NAMES, "3 4") | {
            "internalStructure": "1 5",
            "malignancy": "5 4 4" if large else "1 2 2",
        }
        row = dict.fromkeys(("volume", "mask", "cube", "crop", "point_ras"), "")
        row |= {"nodule_id": f"n{index}", "patient_id": f"p{index // 2}", "fold": str(index // 2 % 5), "n_readers": "3"}
        row |= {
            "diameter_mm": str(diameter),
            "volume_mm3": str(round(diameter**3 * np.pi / 6, 1)),
            "malignancy_mean": "4.33" if large else "1.67",
            "slice_index": str(index),
            "slice_pixel_mm": "0.7",
        }
        rows.append(row | ratings)
    mask = np.zeros((3, 40, 40), np.uint8)
    mask[:, 18:23, 23:28] = 1
    write_volume(
        np.where(mask > 0, 40, -850).astype(np.int16),
        root / "volumes" / "n0.nii.gz",
        (10.0, 20.0, -30.0),
        (0.8, 0.8, 2.0),
    )
    write_volume(mask, root / "masks" / "n0.nii.gz", (10.0, 20.0, -30.0), (0.8, 0.8, 2.0))
    # The mask's middle, index (25, 20, 1), in RAS.
    rows[0] |= {"volume": "volumes/n0.nii.gz", "mask": "masks/n0.nii.gz", "point_ras": "-30.0 -36.0 -28.0"}
    np.savez(root / "slices.npz", hu=np.array(slices, np.int16))
    with (root / "nodules.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
