"""How much the volume of a nodule that has not changed differs between two scans, as far as one scan can tell.

    python Testing/measure_repeatability.py LIDC_FOLDER [CHECKPOINT]

Every nodule of LIDC-IDRI that is there in true context is measured twice: as it is, and as another scan would show it, turned by up to
5 degrees, shifted against the voxels, with noise of 15 HU and slices of 2.5 mm. Both clicks miss the middle by 2 mm. Prints the numbers
that `CLIPLungLib/followup/repeatability.py` names. Breathing and the scanner's kernel are not in it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from CLIPLungLib.dataset.nodule_images import TRUE_CONTEXT, image_and_click
from CLIPLungLib.dataset.nodule_table import read_nodules
from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation.conditions import moved_click, thickened, with_noise
from CLIPLungLib.followup.repeatability import log_sd_of_pairs
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.inference.classifier import NoduleClassifier

CLICK_MM, NOISE_HU, SLICES_MM, LARGEST_TURN_DEGREES = 2.0, 15.0, 2.5, 5.0


def turned(ct: CTVolume, point_ras: np.ndarray, rng: np.random.Generator) -> CTVolume:
    """The scan turned a little about a point, so that the same anatomy meets other voxels."""
    matrix = np.eye(4)
    degrees = rng.uniform(-LARGEST_TURN_DEGREES, LARGEST_TURN_DEGREES, 3)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = point_ras - matrix[:3, :3] @ point_ras
    return ct.moved(matrix)


def pairs(folder: Path, classifier: NoduleClassifier) -> Iterator[tuple[str, float, float, float]]:
    """Nodule, diameter in mm and the two volumes in mm3; NaN where nothing was outlined."""
    for nodule in read_nodules(folder):
        kind = next((kind for kind in TRUE_CONTEXT if kind in nodule.images), None)
        if kind is None:
            continue
        ct, point = image_and_click(folder, nodule, kind)
        rng = np.random.default_rng([0, *nodule.nodule_id.encode()])
        again = with_noise(thickened(turned(ct, point, rng), SLICES_MM), NOISE_HU, rng)
        try:
            first, second = (
                classifier.classify(scan, moved_click(scan, point, CLICK_MM, rng).tolist()) for scan in (ct, again)
            )
        except InputError as error:
            print(f"{nodule.nodule_id}: {error}", file=sys.stderr)
            continue
        sizes = [result.measurement.volume_mm3 if result.measurement else np.nan for result in (first, second)]
        yield nodule.nodule_id, first.diameter_mm, sizes[0], sizes[1]


def main(folder: Path, checkpoint: Path | None) -> None:
    found = list(pairs(folder, NoduleClassifier.load(checkpoint, "cpu")))
    diameter, first, second = (np.array(values) for values in list(zip(*found, strict=True))[1:])
    whole = ~np.isnan(first + second)
    print(f"{len(found)} nodules, {int((~whole).sum())} not outlined twice")
    for words, chosen in (
        ("all", whole),
        ("below 6 mm", whole & (diameter < 6)),
        ("6 to 15 mm", whole & (diameter >= 6) & (diameter < 15)),
        ("15 mm and more", whole & (diameter >= 15)),
    ):
        if chosen.sum() > 2:
            change = np.log(second[chosen] / first[chosen])
            low, median, high = np.percentile(100 * np.expm1(change), [2.5, 50, 97.5])
            print(
                f"{words}: n {int(chosen.sum())}, SD of the log ratio {log_sd_of_pairs(first[chosen], second[chosen]):.3f} "
                f"(robust {np.median(np.abs(change)) / 0.6745:.3f}), change {low:+.0f} % .. {median:+.0f} % .. {high:+.0f} %"
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
