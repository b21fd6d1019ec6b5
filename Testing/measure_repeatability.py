"""How much volume and diameter of a nodule that has not changed differ between two scans, as far as one scan can tell.

    python Testing/measure_repeatability.py LIDC_FOLDER RUN

RUN is the folder of a finished `cliplung train` or `crossvalidate`: every nodule is measured by the model that was not trained on its patient.

Every nodule of LIDC-IDRI that is there in true context is measured twice: as it is, and as another scan would show it, turned by up to
5 degrees, shifted against the voxels, with noise of 15 HU and slices of 2.5 mm. Both clicks miss the middle by 2 mm. Prints the numbers
that `CLIPLungLib/followup/repeatability.py` names. Breathing and the scanner's kernel are not in it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from CLIPLungLib.dataset.nodule_images import TRUE_CONTEXT, image_and_click
from CLIPLungLib.dataset.nodule_table import Nodule, read_nodules
from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation.fold_models import fold_models
from CLIPLungLib.evaluation.perturbations import moved_click, thickened, with_noise
from CLIPLungLib.followup.repeatability import log_sd_of_pairs
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.inference.classifier import NoduleClassifier

CLICK_MM, NOISE_HU, SLICES_MM, LARGEST_TURN_DEGREES = 2.0, 15.0, 2.5, 5.0
# Words, and diameters from and below which, in mm.
SIZES = (
    ("all", 0.0, np.inf),
    ("below 6 mm", 0.0, 6.0),
    ("6 to 15 mm", 6.0, 15.0),
    ("15 mm and more", 15.0, np.inf),
)


def turned(ct: CTVolume, point_ras: np.ndarray, rng: np.random.Generator) -> CTVolume:
    """The scan turned a little about a point, so that the same anatomy meets other voxels."""
    matrix = np.eye(4)
    degrees = rng.uniform(-LARGEST_TURN_DEGREES, LARGEST_TURN_DEGREES, 3)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = point_ras - matrix[:3, :3] @ point_ras
    return ct.moved(matrix)


@dataclass(frozen=True)
class Pair:
    """Sizes of one nodule in two scans; NaN where nothing was outlined."""

    volume_mm3: tuple[float, float]
    diameter_mm: tuple[float, float]


def measured(folder: Path, nodule: Nodule, kind: str, classifier: NoduleClassifier) -> Pair | None:
    """Both measurements of a nodule; None where a click was refused."""
    ct, point = image_and_click(folder, nodule, kind)
    rng = np.random.default_rng([0, *nodule.nodule_id.encode()])
    again = with_noise(thickened(turned(ct, point, rng), SLICES_MM), NOISE_HU, rng)
    try:
        results = [classifier.classify(scan, moved_click(scan, point, CLICK_MM, rng).tolist()) for scan in (ct, again)]
    except InputError as error:
        print(f"{nodule.nodule_id}: {error}", file=sys.stderr)
        return None
    volumes = [result.measurement.volume_mm3 if result.measurement else np.nan for result in results]
    return Pair((volumes[0], volumes[1]), (results[0].diameter_mm, results[1].diameter_mm))


def pairs(folder: Path, run: Path) -> Iterator[Pair]:
    """Every nodule that is there in true context, by the model of its fold."""
    nodules = read_nodules(folder)
    for model in fold_models(run, nodules, "cpu"):
        for nodule in nodules:
            kind = next((kind for kind in TRUE_CONTEXT if kind in nodule.images), None)
            if kind is None or nodule.fold != model.fold:
                continue
            pair = measured(folder, nodule, kind, model.classifier)
            if pair is not None:
                yield pair


def print_sizes(title: str, first: np.ndarray, second: np.ndarray, diameter_mm: np.ndarray) -> None:
    """Noise of one measurement, by the diameter of the nodule."""
    print(title)
    for words, low_mm, high_mm in SIZES:
        chosen = (diameter_mm >= low_mm) & (diameter_mm < high_mm)
        if chosen.sum() > 2:
            change = np.log(second[chosen] / first[chosen])
            low, median, high = np.percentile(100 * np.expm1(change), [2.5, 50, 97.5])
            print(
                f"  {words}: n {int(chosen.sum())}, SD of the log ratio {log_sd_of_pairs(first[chosen], second[chosen]):.3f} "
                f"(robust {np.median(np.abs(change)) / 0.6745:.3f}), change {low:+.0f} % .. {median:+.0f} % .. {high:+.0f} %"
            )


def main(folder: Path, run: Path) -> None:
    """Print the figures."""
    found = list(pairs(folder, run))
    volume, diameter = (np.array([getattr(pair, name) for pair in found]) for name in ("volume_mm3", "diameter_mm"))
    outlined = np.isfinite(volume).all(axis=1)
    print(f"{len(found)} nodules, {int((~outlined).sum())} not outlined twice")
    for title, sizes in (("volume", volume), ("diameter", diameter)):
        print_sizes(title, *sizes[outlined].T, diameter[outlined, 0])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
