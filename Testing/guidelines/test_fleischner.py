"""Every cell of the table of the Fleischner Society 2017, with both sides of each limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from CLIPLungLib.errors import InputError
from CLIPLungLib.guidelines.case import Case, Prior, Size
from CLIPLungLib.guidelines.fleischner import CELLS, MANAGEMENT, fleischner

PATIENT = Case(
    Size(mean_mm=7.0),
    "solid",
    context="incidental",
    nodule_count=1,
    age=60.0,
    immunosuppressed=False,
    known_cancer=False,
    high_risk=False,
)


def nodule(
    nodule_type: str, size: Size, count: int = 1, high_risk: bool | None = None, solid_mm: float | None = None
) -> Case:
    return replace(
        PATIENT, nodule_type=nodule_type, size=size, nodule_count=count, high_risk=high_risk, solid_mm=solid_mm
    )


def mm(value: float) -> Size:
    return Size(mean_mm=value)


def mm3(value: float) -> Size:
    return Size(volume_mm3=value)


# Rounded to whole mm: 5.49 is 5, 5.5 is 6, 8.49 is 8, 8.5 is 9. Volumes: 100 to 250 mm3 is the middle band.
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("high_risk", [False, True])
@pytest.mark.parametrize(
    ("size", "band"),
    [
        (mm(2.0), "below 6 mm"),
        (mm(5.49), "below 6 mm"),
        (mm(5.5), "6 to 8 mm"),
        (mm(6.0), "6 to 8 mm"),
        (mm(8.0), "6 to 8 mm"),
        (mm(8.49), "6 to 8 mm"),
        (mm(8.5), "over 8 mm"),
        (mm(25.0), "over 8 mm"),
        (mm3(99.0), "below 6 mm"),
        (mm3(100.0), "6 to 8 mm"),
        (mm3(250.0), "6 to 8 mm"),
        (mm3(251.0), "over 8 mm"),
        (Size(long_mm=6.0, short_mm=4.9), "below 6 mm"),
        (Size(long_mm=6.0, short_mm=5.0), "6 to 8 mm"),
    ],
)
def test_solid(size, band, count, high_risk):
    answer = fleischner(nodule("solid", size, count, high_risk))
    many, risk = "multiple" if count > 1 else "single", "high" if high_risk else "low"
    assert answer.key == f"{many} solid, {band}, {risk} risk"


# The months and methods each cell must name.
@pytest.mark.parametrize(
    ("case", "named"),
    [
        (nodule("solid", mm(5), 1, False), ["No routine follow-up"]),
        (nodule("solid", mm(5), 1, True), ["12 months", "optional"]),
        (nodule("solid", mm(7), 1, False), ["6 to 12 months", "consider", "18 to 24 months"]),
        (nodule("solid", mm(7), 1, True), ["6 to 12 months", "again", "18 to 24 months"]),
        (nodule("solid", mm(9), 1, False), ["3 months", "PET/CT", "tissue sampling"]),
        (nodule("solid", mm(9), 1, True), ["3 months", "PET/CT", "tissue sampling"]),
        (nodule("solid", mm(5), 3, False), ["No routine follow-up"]),
        (nodule("solid", mm(5), 3, True), ["12 months", "optional"]),
        (nodule("solid", mm(7), 3, False), ["3 to 6 months", "consider", "18 to 24 months"]),
        (nodule("solid", mm(7), 3, True), ["3 to 6 months", "again", "18 to 24 months"]),
        (nodule("solid", mm(9), 3, False), ["3 to 6 months", "consider", "18 to 24 months"]),
        (nodule("solid", mm(9), 3, True), ["3 to 6 months", "again", "18 to 24 months"]),
        (nodule("ground_glass", mm(5)), ["No routine follow-up", "2 and 4 years"]),
        (nodule("ground_glass", mm(6)), ["6 to 12 months", "every 2 years up to 5 years"]),
        (nodule("part_solid", mm(5), solid_mm=3), ["No routine follow-up"]),
        (nodule("part_solid", mm(6), solid_mm=5.4), ["3 to 6 months", "every year for 5 years"]),
        (nodule("part_solid", mm(9), solid_mm=5.5), ["3 to 6 months", "highly suspicious"]),
        (nodule("part_solid", mm(12), solid_mm=8.5), ["PET/CT, biopsy or resection"]),
        (nodule("ground_glass", mm(5), 2), ["3 to 6 months", "2 and 4 years"]),
        (nodule("part_solid", mm(5), 2), ["3 to 6 months", "2 and 4 years"]),
        (nodule("ground_glass", mm(6), 2), ["3 to 6 months", "most suspicious"]),
        (nodule("part_solid", mm(6), 2), ["3 to 6 months", "most suspicious"]),
    ],
)
def test_management_of_every_cell(case, named):
    answer = fleischner(case)
    assert [words for words in named if words not in answer.management] == []
    assert answer.doi == "10.1148/radiol.2017161659"


@pytest.mark.parametrize("nodule_type", ["ground_glass", "part_solid"])
@pytest.mark.parametrize(
    ("size", "small"), [(mm(5.49), True), (mm(5.5), False), (mm3(99.0), True), (mm3(100.0), False), (mm(29.0), False)]
)
def test_subsolid_bands_do_not_depend_on_risk(nodule_type, size, small):
    solid_mm = 4.0 if nodule_type == "part_solid" else None
    single = {fleischner(nodule(nodule_type, size, 1, risk, solid_mm)).key for risk in (None, True)}
    multiple = {fleischner(nodule(nodule_type, size, 2, risk)).key for risk in (None, True)}
    large = {"ground_glass": "ground glass, 6 mm or more", "part_solid": "part-solid, solid part below 6 mm"}[
        nodule_type
    ]
    name = nodule_type.replace("part_solid", "part-solid").replace("_", " ")
    assert single == {f"single {name}, below 6 mm" if small else f"single {large}"}
    assert multiple == {"multiple subsolid, below 6 mm" if small else "multiple subsolid, 6 mm or more"}


@pytest.mark.parametrize(
    ("solid_mm", "band"),
    [
        (2.0, "solid part below 6 mm"),
        (5.49, "solid part below 6 mm"),
        (5.5, "solid part 6 to 8 mm"),
        (8.49, "solid part 6 to 8 mm"),
        (8.5, "solid part over 8 mm"),
    ],
)
def test_solid_component_decides_on_single_part_solid_nodules(solid_mm, band):
    assert fleischner(nodule("part_solid", mm(12), solid_mm=solid_mm)).key == f"single part-solid, {band}"


def test_every_cell_can_be_reached():
    sizes, solids = (mm(5), mm(7), mm(9)), (4.0, 6.0, 9.0)
    reached = {
        fleischner(nodule("solid", size, n, risk)).key for size in sizes for n in (1, 2) for risk in (True, False)
    }
    reached |= {fleischner(nodule("ground_glass", size, n)).key for size in sizes for n in (1, 2)}
    reached |= {fleischner(nodule("part_solid", mm(12), solid_mm=solid)).key for solid in solids}
    reached |= {fleischner(nodule("part_solid", mm(5))).key}
    assert reached == {cell.key for cell in CELLS}
    assert reached <= set(MANAGEMENT)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"context": "screening"}, "lung cancer screening"),
        ({"age": 34.9}, "below 35 years"),
        ({"immunosuppressed": True}, "immunosuppressed"),
        ({"known_cancer": True}, "known cancer"),
        ({"finding": "airway_segmental"}, "airway"),
    ],
)
def test_out_of_scope(changes, said):
    with pytest.raises(InputError, match=f"Fleischner Society 2017 is not for .*{said}"):
        fleischner(replace(PATIENT, **changes))


def test_35_years_is_in_scope():
    assert fleischner(replace(PATIENT, age=35.0)).key


@pytest.mark.parametrize(
    ("field", "option"),
    [
        ("context", "--context"),
        ("age", "--age"),
        ("immunosuppressed", "--immunosuppressed"),
        ("known_cancer", "--known-cancer"),
        ("nodule_type", "--type"),
        ("nodule_count", "--nodules"),
        ("high_risk", "--high-risk"),
    ],
)
def test_missing_inputs_are_named(field, option):
    with pytest.raises(InputError, match=f"needs more: .*{option}"):
        fleischner(replace(PATIENT, **{field: None}))


def test_missing_sizes_are_named():
    with pytest.raises(InputError, match="--long and --short"):
        fleischner(replace(PATIENT, size=Size(long_mm=7.0)))
    with pytest.raises(InputError, match="--solid"):
        fleischner(nodule("part_solid", mm(9)))


def test_benign_features_and_lymph_nodes_need_no_follow_up():
    assert fleischner(replace(PATIENT, size=mm(12), benign_feature="popcorn_calcification")).key == "benign feature"
    typical = replace(PATIENT, size=mm(9), juxtapleural=True)
    assert fleischner(typical).key == "typical juxtapleural nodule"
    assert fleischner(replace(typical, spiculation=True)).key == "single solid, over 8 mm, low risk"


def test_larger_measurement_counts_and_the_other_is_told():
    answer = fleischner(replace(PATIENT, size=Size(mean_mm=5.0, volume_mm3=120.0)))
    assert answer.key == "single solid, 6 to 8 mm, low risk"
    assert "by diameter alone, the answer is 'single solid, below 6 mm, low risk'" in " ".join(answer.warnings)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"smoking": "current"}, "in spite of smoking"),
        ({"emphysema": True, "upper_lobe": True}, "in spite of emphysema, upper lobe"),
        ({"prior": Prior(mm(5), 90)}, "first CT"),
        ({"size": mm(31)}, "mass"),
        ({"nodule_count": 2}, "most suspicious"),
    ],
)
def test_warnings(changes, said):
    assert said in " ".join(fleischner(replace(PATIENT, **changes)).warnings)
    assert said not in " ".join(fleischner(PATIENT).warnings)
