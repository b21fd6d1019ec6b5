"""The report: slices as a radiologist sees them, the picture, and the files beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from CLIPLungLib.atomic_write import atomic_write
from CLIPLungLib.calibration.truth import OUTCOME, Truth
from CLIPLungLib.errors import InputError, MissingPackageError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import PatchSpec
from CLIPLungLib.inference.result import AttributeResult, NoduleResult
from CLIPLungLib.inference.result_files import write_heatmap, write_json
from CLIPLungLib.report import palette, slice_pictures
from CLIPLungLib.report.findings import percent
from CLIPLungLib.report.page import save_report
from CLIPLungLib.vocabulary import ATTRIBUTES

PAGE_PIXELS = (1350, 2100)
BALL_RAS = (10.0, -20.0, 30.0)
AXIAL, CORONAL, SAGITTAL = slice_pictures.PLANES


def attribute_results() -> tuple[AttributeResult, ...]:
    results = []
    for attribute in ATTRIBUTES:
        count = len(attribute.levels)
        level = 1 + 0.75 * (count - 1)
        results.append(AttributeResult(attribute.name, 0.25, level, (1 / count,) * count, attribute.levels[-1]))
    return tuple(results)


@pytest.fixture
def result() -> NoduleResult:
    """An answer for the ball of `ball_ct`, its heat map a bell of 6 mm around the ball's centre."""
    spec = PatchSpec(shape=(9, 24, 24), spacing_mm=(3.0, 2.0, 2.0))
    matrix = spec.grid_to_ras(np.array(BALL_RAS))
    k, j, i = np.indices(spec.shape)
    points = np.stack([i, j, k], axis=-1) @ matrix[:3, :3].T + matrix[:3, 3]
    heatmap = np.exp(-0.5 * (np.linalg.norm(points - BALL_RAS, axis=-1) / 6.0) ** 2).astype(np.float32)
    model = {"name": "test-model", "version": "1.2.3", "sha256": "0123456789abcdef" * 4}
    return NoduleResult(BALL_RAS, 0.81, (0.05, 0.2, 0.75), 12.0, attribute_results(), heatmap, matrix, (), model)


def turn(axis: int, degrees: float) -> np.ndarray:
    """(4, 4) rotation about a patient axis."""
    angle, matrix = np.deg2rad(degrees), np.eye(4)
    first, second = [a for a in range(3) if a != axis]
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    return matrix


def blob_ct(ijk_to_ras: np.ndarray, center_ras: np.ndarray, radius_mm: float = 3.0) -> CTVolume:
    """Lung of -850 HU with a bright ball."""
    volume = CTVolume(np.full((50, 60, 70), -850, np.int16), ijk_to_ras, "blob")
    k, j, i = np.indices(volume.hu.shape)
    distance_mm = np.linalg.norm(volume.to_ras(np.stack([i, j, k], axis=-1)) - center_ras, axis=-1)
    volume.hu[distance_mm <= radius_mm] = 100
    return volume


def centered_matrix(axes: np.ndarray) -> np.ndarray:
    """IJK-to-RAS with the given step vectors (columns, mm) and RAS 0 at the middle of a 70 x 60 x 50 volume."""
    matrix = np.eye(4)
    matrix[:3, :3] = axes
    matrix[:3, 3] = -axes @ (np.array([69, 59, 49]) / 2)
    return matrix


# Patient-aligned as CT usually is, stored with other axis orders and directions, and tilted.
GEOMETRIES = {
    "left_posterior_superior": np.diag([-1.0, -1.2, 1.5]),
    "right_anterior_inferior": np.diag([1.0, 1.2, -1.5]),
    "sagittal_acquisition": np.array([[0.0, 0.0, 1.4], [1.0, 0.0, 0.0], [0.0, -1.1, 0.0]]),
    "oblique": (turn(0, 20) @ turn(1, -15) @ turn(2, 30))[:3, :3] @ np.diag([-1.0, -1.2, 1.5]),
}


def middle_of_bright(picture: np.ndarray, size_mm: float) -> tuple[float, float]:
    """Centre of the pixels above -300 HU: mm to the right and mm downwards from the middle of the picture."""
    rows, columns = np.nonzero(np.nan_to_num(picture, nan=-1000.0) > -300.0)
    assert rows.size, "nothing bright in the picture"
    step = size_mm / len(picture)
    return (columns.mean() + 0.5) * step - size_mm / 2, (rows.mean() + 0.5) * step - size_mm / 2


@pytest.mark.parametrize("axes", GEOMETRIES.values(), ids=GEOMETRIES.keys())
def test_views_show_a_ball_in_front_left_above_where_a_radiologist_looks_for_it(axes):
    # 10 mm to the patient's left, 8 mm in front and 6 mm above the point.
    left_mm, front_mm, above_mm = 10.0, 8.0, 6.0
    ball = np.array([-left_mm, front_mm, above_mm])
    ct = blob_ct(centered_matrix(axes), ball)
    seen = {
        AXIAL.name: (slice_pictures.sample_plane(ct, AXIAL, (0.0, 0.0, above_mm), 48.0, 96), (left_mm, -front_mm)),
        CORONAL.name: (slice_pictures.sample_plane(ct, CORONAL, (0.0, front_mm, 0.0), 48.0, 96), (left_mm, -above_mm)),
        SAGITTAL.name: (
            slice_pictures.sample_plane(ct, SAGITTAL, (-left_mm, 0.0, 0.0), 48.0, 96),
            (-front_mm, -above_mm),
        ),
    }
    for name, (picture, expected_mm) in seen.items():
        assert middle_of_bright(picture, 48.0) == pytest.approx(expected_mm, abs=0.6), name


def test_edge_letters_name_the_direction_the_picture_runs_to():
    letters = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
    for plane in slice_pictures.PLANES:
        left, right, top, bottom = (np.array(letters[letter]) for letter in plane.edges)
        assert np.array_equal(right, plane.right_ras)
        assert np.array_equal(left, -right)
        assert np.array_equal(bottom, plane.down_ras)
        assert np.array_equal(top, -bottom)


def test_view_values_are_those_of_a_linear_field_at_pixel_centres():
    matrix = centered_matrix(GEOMETRIES["oblique"])
    k, j, i = np.indices((50, 60, 70))
    field_of = np.array([2.0, -3.0, 5.0])
    hu = (np.stack([i, j, k], axis=-1) @ matrix[:3, :3].T + matrix[:3, 3]) @ field_of
    picture = slice_pictures.sample_plane(CTVolume(hu, matrix), CORONAL, (1.0, 2.0, 3.0), 20.0, 4)
    # Pixels of 5 mm: the first one's centre lies 7.5 mm to the patient's right and 7.5 mm above the point.
    assert picture[0, 0] == pytest.approx(2 * (1 + 7.5) - 3 * 2 + 5 * (3 + 7.5), abs=1e-3)
    assert picture[0, 3] == pytest.approx(2 * (1 - 7.5) - 3 * 2 + 5 * (3 + 7.5), abs=1e-3)
    assert picture[3, 0] == pytest.approx(2 * (1 + 7.5) - 3 * 2 + 5 * (3 - 7.5), abs=1e-3)


def test_view_is_empty_outside_the_scan_and_where_voxels_are_no_numbers(ball_ct):
    # The block ends at R 50.4 mm: half of this picture lies beyond it.
    picture = slice_pictures.sample_plane(ball_ct, AXIAL, (50.4, -20.0, 30.0), 20.0, 40)
    assert np.isnan(picture[:, :20]).all()
    assert np.isfinite(picture[:, 20:]).all()
    for value in (np.nan, np.inf, -np.inf):
        hu = ball_ct.hu.astype(np.float32)
        hu[20] = value
        damaged = slice_pictures.sample_plane(CTVolume(hu, ball_ct.ijk_to_ras), AXIAL, (10.0, -20.0, 30.45), 20.0, 40)
        assert np.isnan(damaged).all()
        assert np.allclose(slice_pictures.grey_picture(damaged), slice_pictures.OUTSIDE_GREY)


def test_view_of_a_single_slice_is_a_band_as_thick_as_the_slice():
    matrix = np.diag([-1.0, -1.0, 4.0, 1.0])
    ct = CTVolume(np.zeros((1, 80, 80), np.int16), matrix)
    picture = slice_pictures.sample_plane(ct, CORONAL, (-40.0, -40.0, 0.0), 40.0, 80)
    assert np.isfinite(picture).all(axis=1).sum() == 8  # 4 mm in pixels of 0.5 mm
    assert np.isfinite(slice_pictures.sample_plane(ct, AXIAL, (-40.0, -40.0, 0.0), 40.0, 80)).all()


def test_heat_is_clear_below_its_threshold_and_absent_outside_the_scan():
    hu = np.array([[-700.0, -700.0, np.nan, -700.0]])
    relevance = np.array([[palette.HEAT_THRESHOLD - 0.01, 1.0, 1.0, np.nan]])
    grey, mixed = slice_pictures.grey_picture(hu), slice_pictures.heat_picture(hu, relevance)
    assert np.array_equal(mixed[0, [0, 2, 3]], grey[0, [0, 2, 3]])
    red, green, blue = mixed[0, 1]
    assert red > green > blue > 0.5


def test_heat_colours_rise_in_lightness_for_readers_who_see_no_hue():
    red, green, blue = palette.heat_rgb(np.linspace(0.0, 1.0, 101)).T
    assert (np.diff(0.2126 * red + 0.7152 * green + 0.0722 * blue) > 0).all()


def read_picture(path: Path) -> np.ndarray:
    from matplotlib.image import imread

    return imread(path)[..., :3]


def test_picture_has_the_promised_size_and_shows_scan_and_heat(ball_ct, result, tmp_path):
    path = tmp_path / "new folder" / "report.png"
    save_report(ball_ct, result, path)
    picture = read_picture(path)
    assert picture.shape[:2] == PAGE_PIXELS
    # The middle of the first tile is the ball (white), that of the tile below it is the peak of the heat map (yellow).
    assert picture[399, 282] == pytest.approx([0.927] * 3, abs=0.02)
    red, _, blue = picture[870, 282]
    assert red - blue > 0.15
    assert [file.name for file in path.parent.iterdir()] == ["report.png"]


def test_picture_marks_left_and_right_by_anatomy(result, tmp_path):
    # Bright only on the patient's left: that is the right half of axial and coronal tiles.
    ct = CTVolume(np.full((60, 100, 100), -1000, np.int16), centered_matrix(np.diag([-1.0, -1.0, 2.0])), "halves")
    ct.hu[:, :, 36:] = 100
    save_report(ct, replace(result, point_ras=(0.0, 0.0, 0.0)), tmp_path / "report.png")
    picture = read_picture(tmp_path / "report.png")
    assert picture[300, 150].max() < 0.3
    assert picture[300, 400].min() > 0.8


def test_picture_stores_the_research_notice_in_the_file(ball_ct, result, tmp_path):
    save_report(ball_ct, result, tmp_path / "report.png", title="Nodule 1")
    assert b"Research use only" in (tmp_path / "report.png").read_bytes()


def words_of(ball_ct, result, tmp_path, monkeypatch) -> list[str]:
    """Every text of a page, as it is drawn."""
    from CLIPLungLib.report.canvas import Canvas

    said, draw = [], Canvas.text

    def text(canvas, x, y, words, points, color, *places, max_width=None, **named):
        said.append(words if max_width is None else canvas.shortened(words, points, max_width))
        return draw(canvas, x, y, words, points, color, *places, max_width=max_width, **named)

    monkeypatch.setattr(Canvas, "text", text)
    save_report(ball_ct, result, tmp_path / "report.png")
    monkeypatch.undo()
    return said


def test_picture_says_whose_truth_it_shows(ball_ct, result, tmp_path, monkeypatch):
    said = words_of(ball_ct, result, tmp_path, monkeypatch)
    assert "Malignancy probability" in said
    assert "indeterminate" in said
    local = replace(result, class_probabilities=(0.19, 0.0, 0.81), truth=Truth(OUTCOME, 1412, 300, 120))
    said = words_of(ball_ct, local, tmp_path, monkeypatch)
    # In full: nothing of it is cut off.
    assert "Malignancy by outcome, 1412 local cases" in said
    assert "indeterminate" not in said
    assert any("the outcome, calibrated on 1412 local cases" in words for words in said)
    assert not any("not of pathology" in words for words in said)


def test_warnings_change_the_picture(ball_ct, result, tmp_path):
    warnings = tuple(f"Warning {number} about $x_{number}$: " + "many words " * 30 for number in range(7))
    save_report(ball_ct, result, tmp_path / "quiet.png")
    save_report(ball_ct, replace(result, warnings=warnings), tmp_path / "loud.png")
    quiet, loud = read_picture(tmp_path / "quiet.png"), read_picture(tmp_path / "loud.png")
    changed_rows, changed_columns = np.nonzero((quiet != loud).any(axis=-1))
    # Only the strip beside the colour bar may change: nothing flows over into its neighbours.
    assert changed_rows.min() >= 1110
    assert changed_rows.max() <= 1245
    assert changed_columns.min() >= 520
    assert changed_columns.max() <= 1455
    amber = (loud[..., 0] > 0.9) & (loud[..., 1] > 0.7) & (loud[..., 2] < 0.5)
    assert amber[1110:1245, 525:1455].sum() > 500


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "name",
    [
        "$\\frac{1}{2}$ 100% a_b^c {unclosed $",
        "long_" * 400,
        "two\nlines\tand \x00 control \udc80 letters",
        "\u80f8\u90e8 CT \u0417\u0438\u043c\u0430 \u00e9",
        "",
    ],
    ids=["markup", "endless", "control", "other_script", "empty"],
)
def test_any_text_is_written_as_it_is_without_breaking_the_page(ball_ct, result, tmp_path, name):
    strange = replace(result, warnings=(name,), model={"name": name, "version": name, "sha256": name})
    save_report(replace(ball_ct, name=name), strange, tmp_path / "report.png", title=name)
    picture = read_picture(tmp_path / "report.png")
    assert picture.shape[:2] == PAGE_PIXELS
    # The margins stay empty.
    background = picture[2, 2]
    for margin in (picture[:, :50], picture[:, -50:], picture[:40]):
        assert np.array_equal(margin, np.broadcast_to(background, margin.shape))


def test_long_text_keeps_beginning_and_end_within_its_width():
    from CLIPLungLib.report.canvas import Canvas

    canvas = Canvas(14.0, 9.0, 150, "black")
    short = canvas.shortened("Begin " + "middle " * 50 + "End", 10, 2.0)
    assert short.startswith("Begin")
    assert short.endswith("End")
    assert 1.8 < canvas.width(short, 10) <= 2.0
    lines = canvas.wrapped("some words to fill lines and " + "w" * 300, 10, 2.0)
    assert len(lines) > 1
    assert all(canvas.width(line, 10) <= 2.0 for line in lines)


def test_picture_works_at_a_corner_on_a_tilted_single_slice(result, tmp_path):
    matrix = turn(1, 35) @ np.diag([-0.7, -0.7, 5.0, 1.0])
    ct = CTVolume(np.full((1, 200, 200), -600, np.int16), matrix, "tilted")
    ct.hu[0, :8, :8] = 50
    corner = tuple(ct.to_ras(np.array([0.0, 0.0, 0.0])))
    save_report(ct, replace(result, point_ras=corner), tmp_path / "report.png")
    assert read_picture(tmp_path / "report.png").shape[:2] == PAGE_PIXELS


def test_picture_ignores_matplotlib_settings_and_leaves_no_pyplot_state(tmp_path):
    script = """
import sys, matplotlib, numpy as np
from pathlib import Path
sys.path[:0] = [{testing!r} + "/report", {testing!r}, {repository!r}]
from test_report_page import attribute_results
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.report.page import save_report
from CLIPLungLib.inference.result import NoduleResult
assert "matplotlib.figure" not in sys.modules
matplotlib.rcParams.update({{"savefig.bbox": "tight", "text.usetex": True, "font.family": "monospace"}})
def settings():
    # Reading "backend" would itself import pyplot.
    return {{key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != "backend"}}
before = settings()
ct = CTVolume(np.full((30, 60, 60), 0, np.int16) - 500, np.diag([-1.0, -1.0, 2.0, 1.0]))
point = (-30.0, -30.0, 30.0)
heat = np.ones((3, 4, 5), np.float32)
result = NoduleResult(point, 0.5, (0.3, 0.4, 0.3), 8.0, attribute_results(), heat, np.eye(4))
save_report(ct, result, Path({path!r}))
assert settings() == before
assert "matplotlib.pyplot" not in sys.modules
"""
    testing = Path(__file__).parents[1]
    path = tmp_path / "report.png"
    code = script.format(testing=str(testing), repository=str(testing.parent), path=str(path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert read_picture(path).shape[:2] == PAGE_PIXELS


def test_report_modules_import_neither_matplotlib_nor_simpleitk():
    code = (
        "import sys; import CLIPLungLib.report.page, CLIPLungLib.inference.result_files; "
        "sys.exit(any(name in sys.modules for name in ('matplotlib', 'SimpleITK', 'torch')))"
    )
    repository = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=repository, timeout=60).returncode == 0


def test_missing_matplotlib_is_named_with_its_remedy(ball_ct, result, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "CLIPLungLib.report.canvas", raising=False)
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match="pip install matplotlib"):
        save_report(ball_ct, result, tmp_path / "report.png")
    assert not list(tmp_path.iterdir())


def test_picture_is_refused_for_a_point_outside_the_scan(ball_ct, result, tmp_path):
    with pytest.raises(InputError, match="outside 'ball'"):
        save_report(ball_ct, replace(result, point_ras=(500.0, 0.0, 0.0)), tmp_path / "report.png")


@pytest.mark.parametrize(
    "change",
    [
        {"malignancy_probability": float("nan")},
        {"diameter_mm": float("inf")},
        {"class_probabilities": (float("nan"), 0.5, 0.5)},
        {"attributes": (replace(attribute_results()[0], similarity=float("nan")),)},
        {"attributes": (replace(attribute_results()[0], level_probabilities=(float("nan"),) * 5),)},
    ],
    ids=["probability", "diameter", "class", "similarity", "level"],
)
def test_nan_reaches_neither_json_nor_picture(ball_ct, result, tmp_path, change):
    damaged = replace(result, **change)
    with pytest.raises(InputError, match="NaN or infinite"):
        write_json(damaged, tmp_path / "result.json")
    with pytest.raises(InputError, match="NaN or infinite"):
        save_report(ball_ct, damaged, tmp_path / "report.png")
    assert not list(tmp_path.iterdir())


def test_json_holds_the_result(result, tmp_path):
    write_json(replace(result, warnings=('a "quoted" \u00e4 warning',)), tmp_path / "result.json")
    read = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert read["malignancy_probability"] == 0.81
    assert read["predicted_class"] == "malignant"
    assert read["warnings"] == ['a "quoted" \u00e4 warning']


@pytest.mark.parametrize("axes", GEOMETRIES.values(), ids=GEOMETRIES.keys())
def test_heatmap_file_puts_every_voxel_where_it_was(result, tmp_path, axes):
    import SimpleITK as sitk

    matrix = centered_matrix(axes * 1.37)
    matrix[:3, 3] += (-56.3, -86.4123456789, -115.9)
    heatmap = np.random.default_rng(1).random((5, 6, 7)).astype(np.float32)
    write_heatmap(replace(result, heatmap=heatmap, heatmap_to_ras=matrix), tmp_path / "heatmap.nrrd")
    image = sitk.ReadImage(str(tmp_path / "heatmap.nrrd"))
    assert image.GetPixelID() == sitk.sitkFloat32
    assert np.array_equal(sitk.GetArrayFromImage(image), heatmap)
    for ijk in ((0, 0, 0), (6, 5, 4), (2, 3, 1)):
        right, anterior, superior = matrix[:3, :3] @ ijk + matrix[:3, 3]
        assert image.TransformIndexToPhysicalPoint(ijk) == pytest.approx((-right, -anterior, superior), abs=1e-6)


def test_heatmap_file_peaks_at_the_nodule(result, tmp_path):
    import SimpleITK as sitk

    write_heatmap(result, tmp_path / "heatmap.nrrd")
    image = sitk.ReadImage(str(tmp_path / "heatmap.nrrd"))
    k, j, i = np.unravel_index(np.argmax(sitk.GetArrayFromImage(image)), image.GetSize()[::-1])
    left, posterior, superior = image.TransformIndexToPhysicalPoint((int(i), int(j), int(k)))
    assert np.linalg.norm(np.array([-left, -posterior, superior]) - BALL_RAS) < 2.0


@pytest.mark.parametrize(
    "heatmap",
    [
        np.full((2, 2, 2), np.nan),
        np.full((2, 2, 2), 1.5),
        np.full((2, 2, 2), -0.2),
        np.zeros((2, 2)),
        np.zeros((0, 2, 2)),
    ],
    ids=["nan", "above_one", "below_zero", "flat", "empty"],
)
def test_damaged_heatmap_is_refused(ball_ct, result, tmp_path, heatmap):
    damaged = replace(result, heatmap=heatmap)
    with pytest.raises(InputError, match=r"within 0\.\.1"):
        write_heatmap(damaged, tmp_path / "heatmap.nrrd")
    with pytest.raises(InputError, match=r"within 0\.\.1"):
        save_report(ball_ct, damaged, tmp_path / "report.png")
    assert not list(tmp_path.iterdir())


def test_heatmap_under_another_suffix_is_refused(result, tmp_path):
    with pytest.raises(InputError, match=r"ends in \.nrrd"):
        write_heatmap(result, tmp_path / "heatmap.nii.gz")


def test_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old", encoding="utf-8")

    def fail_half_way() -> None:
        with atomic_write(path) as temporary:
            assert temporary.parent == path.parent
            temporary.write_text("half", encoding="utf-8")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fail_half_way()
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_finished_write_replaces_the_old_file_and_leaves_no_temporary_file(result, tmp_path):
    for name, write in (("result.json", write_json), ("heatmap.nrrd", write_heatmap)):
        (tmp_path / name).write_text("old", encoding="utf-8")
        write(result, tmp_path / name)
        assert (tmp_path / name).read_bytes()[:3] != b"old"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["heatmap.nrrd", "result.json"]


@pytest.mark.parametrize(
    ("probability", "text"),
    [(0.0, "<1%"), (0.0049, "<1%"), (0.006, "1%"), (0.423, "42%"), (0.9949, "99%"), (0.995, ">99%"), (1.0, ">99%")],
)
def test_percent_never_claims_certainty(probability, text):
    assert percent(probability) == text


@pytest.mark.lidc
def test_picture_of_a_real_nodule_shows_it_in_the_middle(lidc_folder, result, tmp_path):
    import SimpleITK as sitk

    image = sitk.ReadImage(str(lidc_folder / "crops" / "LIDC-IDRI-0001_3192_0.nii.gz"))
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    ct = CTVolume(sitk.GetArrayFromImage(image), np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix, "LIDC-IDRI-0001")
    for plane in slice_pictures.PLANES:
        # A solid nodule of 33 mm: its middle 10 mm are soft tissue in every plane.
        assert np.median(slice_pictures.sample_plane(ct, plane, (0.0, 0.0, 0.0), 10.0, 20)) > -100
    save_report(ct, replace(result, point_ras=(0.0, 0.0, 0.0), diameter_mm=32.8), tmp_path / "report.png")
    assert read_picture(tmp_path / "report.png").shape[:2] == PAGE_PIXELS
