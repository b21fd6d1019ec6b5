"""The inputs of a guideline: sizes and type of one nodule, and the patient. Nothing is assumed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from CLIPLungLib.errors import InputError

NODULE_TYPES = ("solid", "part_solid", "ground_glass")
BENIGN_FEATURES = (
    "complete_calcification",
    "central_calcification",
    "popcorn_calcification",
    "laminated_calcification",
    "fat",
)
SUSPICIOUS_FEATURES = ("spiculation", "lymphadenopathy", "metastasis", "doubled_ground_glass", "other")
PRIOR_CATEGORIES = ("1", "2", "3", "4A", "4B", "4X")
SURVEILLANCE_POINTS = ("3_months", "1_year", "2_years")
# Findings other than a nodule that Lung-RADS has a row for.
FINDINGS = (
    "nodule",
    "prior_awaited",
    "not_evaluable",
    "inflammation_suspected",
    "airway_subsegmental",
    "airway_segmental",
    "airway_segmental_persistent",
    "cyst_thin_walled",
    "cyst_thick_walled",
    "cyst_thick_walled_growing_lumen",
    "cyst_thick_walled_growing_wall",
    "cyst_multilocular",
    "cyst_becomes_multilocular",
    "cyst_multilocular_growing",
    "cyst_multilocular_denser",
)
CHOICES: Mapping[str, tuple[str, ...]] = {
    "nodule_type": NODULE_TYPES,
    "context": ("screening", "incidental"),
    "seen": ("baseline", "new", "known"),
    "finding": FINDINGS,
    "benign_feature": BENIGN_FEATURES,
    "sex": ("female", "male"),
    "smoking": ("never", "former", "current"),
    "surveillance": SURVEILLANCE_POINTS,
}
LARGEST_MM, LARGEST_MM3 = 300.0, 2e7
OLDEST_YEARS, MOST_NODULES = 120, 1000
# CT shows nothing smaller; lengths in centimetres and volumes in millilitres are.
SMALLEST_MM, SMALLEST_MM3 = 1.0, 1.0
# A volume against the ball of the longest given diameter: elongated nodules fill a small part of it, those that reach far along the
# body more than it. Another unit (1 ml is 1000 mm3, 1 cm is 10 mm) makes a factor of 1000.
LEAST_OF_BALL, MOST_OF_BALL = 0.01, 5.0
# Axes are measured to a tenth of a millimetre, so their mean is right to half of that.
MEAN_TOLERANCE_MM = 0.1


@dataclass(frozen=True)
class Size:
    """One measurement of a nodule; what was not measured is None.

    Attributes:
        mean_mm: mean of long and short axis; not needed where both axes are given.
        long_mm: longest diameter.
        short_mm: longest perpendicular diameter.
        volume_mm3: by volumetry.

    Raises:
        InputError: a size that no nodule has, axes in the wrong order, a mean that is not theirs, or a volume of another nodule.
    """

    mean_mm: float | None = None
    long_mm: float | None = None
    short_mm: float | None = None
    volume_mm3: float | None = None

    def __post_init__(self) -> None:
        for words, value in (
            ("mean diameter", self.mean_mm),
            ("long axis", self.long_mm),
            ("short axis", self.short_mm),
        ):
            _require_between(words, value, 0, LARGEST_MM, "mm")
            if words != "short axis":
                _require_visible(words, value)
        _require_between("volume", self.volume_mm3, 0, LARGEST_MM3, "mm3")
        long_mm, short_mm = self.long_mm, self.short_mm
        if long_mm is not None and short_mm is not None:
            if short_mm > long_mm:
                raise InputError(
                    f"The short axis ({short_mm} mm) is longer than the long axis ({long_mm} mm). Swap them."
                )
            self._require_mean_near((long_mm + short_mm) / 2)
        elif self.mean_mm is not None and long_mm is not None and self.mean_mm > long_mm + MEAN_TOLERANCE_MM:
            raise InputError(
                f"The mean diameter ({self.mean_mm} mm) is larger than the long axis ({long_mm} mm). Measure again."
            )
        elif self.mean_mm is not None and short_mm is not None and short_mm > self.mean_mm + MEAN_TOLERANCE_MM:
            raise InputError(
                f"The short axis ({short_mm} mm) is longer than the mean diameter ({self.mean_mm} mm). Measure again."
            )
        self._require_fitting_volume()
        if self.volume_mm3 is not None and self.volume_mm3 < SMALLEST_MM3:
            raise InputError(
                f"The volume cannot be {self.volume_mm3} mm3: CT shows nothing so small. Give mm3 (1 ml is 1000 mm3)."
            )

    def _require_fitting_volume(self) -> None:
        diameter_mm = max(self._diameters().values(), default=None)
        if self.volume_mm3 is None or diameter_mm is None:
            return
        share = self.volume_mm3 / (math.pi / 6 * diameter_mm**3)
        if not LEAST_OF_BALL <= share <= MOST_OF_BALL:
            raise InputError(
                f"The volume ({self.volume_mm3:g} mm3) is not that of a nodule of {diameter_mm:g} mm: its ball measures "
                f"{sphere_diameter_mm(self.volume_mm3):.1f} mm. Give mm and mm3 (1 ml is 1000 mm3), or one of the two."
            )

    def _require_mean_near(self, mean_of_axes_mm: float) -> None:
        if self.mean_mm is not None and abs(self.mean_mm - mean_of_axes_mm) > MEAN_TOLERANCE_MM:
            raise InputError(
                f"The mean diameter ({self.mean_mm} mm) is not that of the axes ({mean_of_axes_mm:g} mm). Leave it out."
            )

    @property
    def mean_diameter_mm(self) -> float | None:
        """Mean of the axes where both are known, else the mean as given."""
        if self.long_mm is not None and self.short_mm is not None:
            return (self.long_mm + self.short_mm) / 2
        return self.mean_mm

    def grown_by(self, delta_mm: float) -> Size | None:
        """The nodule with each diameter longer by `delta_mm` and its volume to match; None where nothing is left."""
        lengths = [value for value in (self.mean_mm, self.long_mm, self.short_mm) if value is not None]
        if self.volume_mm3 is not None:
            lengths.append(sphere_diameter_mm(self.volume_mm3))
        seen = [value for value in (self.mean_mm, self.long_mm) if value is not None]
        if not lengths or min(lengths) + delta_mm <= 0 or min(seen, default=math.inf) + delta_mm < SMALLEST_MM:
            return None
        grown = {name: value + delta_mm for name, value in self._diameters().items()}
        if self.volume_mm3 is not None:
            diameter = sphere_diameter_mm(self.volume_mm3)
            grown["volume_mm3"] = self.volume_mm3 * ((diameter + delta_mm) / diameter) ** 3
            if grown["volume_mm3"] < SMALLEST_MM3:
                return None
        return Size(**grown)

    def without_volume(self) -> Size:
        """The diameters alone."""
        return replace(self, volume_mm3=None)

    def only_volume(self) -> Size:
        """The volume alone."""
        return Size(volume_mm3=self.volume_mm3)

    def _diameters(self) -> dict[str, float]:
        named = {"mean_mm": self.mean_mm, "long_mm": self.long_mm, "short_mm": self.short_mm}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True)
class Prior:
    """The same nodule on an earlier CT.

    Attributes:
        size: as measured then.
        days: from that CT to this one.
        solid_mm: mean diameter of its solid component then; 0 where it had none.
        category: its Lung-RADS category then, one of PRIOR_CATEGORIES.
    """

    size: Size
    days: int | None = None
    solid_mm: float | None = None
    category: str | None = None

    def __post_init__(self) -> None:
        _require_between("time since the prior CT", self.days, 0, 36525, "days")
        if self.solid_mm != 0:
            _require_between("prior solid component", self.solid_mm, 0, LARGEST_MM, "mm")
            _require_visible("prior solid component", self.solid_mm)
            whole_mm = self.size.long_mm if self.size.long_mm is not None else self.size.mean_diameter_mm
            if self.solid_mm is not None and whole_mm is not None and self.solid_mm > whole_mm:
                raise InputError(
                    f"The prior solid component ({self.solid_mm} mm) is larger than the nodule was ({whole_mm} mm). Measure again."
                )
        _require_choice("prior category", self.category, PRIOR_CATEGORIES)


@dataclass(frozen=True)
class Case:
    """One nodule and its patient, as the reader confirms them; None is "not said", and is never taken for "no".

    Attributes:
        size: of the nodule; the most suspicious one where there are several.
        nodule_type: one of NODULE_TYPES.
        solid_mm: mean diameter of the solid component of a part-solid nodule.
        context: found by "screening" or as "incidental" finding.
        seen: for screening, "baseline" on a first CT, "new" since the prior CT, or "known" from it.
        finding: one of FINDINGS.
        benign_feature: one of BENIGN_FEATURES, where the reader sees one.
        juxtapleural: a smooth solid oval, lentiform or triangular nodule at pleura or fissure.
        nodule_count: how many nodules the CT shows.
        upper_lobe, spiculation: of this nodule.
        prior: the nodule on an earlier CT.
        slow_growing: growth over several CTs, never fast enough to count as growth between two.
        proven_benign: by a work-up.
        suspicious_features: of SUSPICIOUS_FEATURES, for which the reader wants category 4X.
        surveillance: the CT of a BTS surveillance, one of SURVEILLANCE_POINTS.
        age: years.
        sex: "female" or "male".
        smoking: "never", "former" or "current".
        family_history: of lung cancer.
        emphysema: seen on the CT.
        immunosuppressed, known_cancer: of the patient.
        high_risk: the reader's estimate of the risk of lung cancer, for Fleischner.

    Raises:
        InputError: a value that does not exist or contradicts another.
    """

    size: Size
    nodule_type: str | None = None
    solid_mm: float | None = None
    context: str | None = None
    seen: str | None = None
    finding: str = "nodule"
    benign_feature: str | None = None
    juxtapleural: bool | None = None
    nodule_count: int | None = None
    upper_lobe: bool | None = None
    spiculation: bool | None = None
    prior: Prior | None = None
    slow_growing: bool | None = None
    proven_benign: bool | None = None
    suspicious_features: tuple[str, ...] = ()
    surveillance: str | None = None
    age: float | None = None
    sex: str | None = None
    smoking: str | None = None
    family_history: bool | None = None
    emphysema: bool | None = None
    immunosuppressed: bool | None = None
    known_cancer: bool | None = None
    high_risk: bool | None = None

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            _require_choice(name.replace("_", " "), getattr(self, name), allowed)
        for feature in self.suspicious_features:
            _require_choice("suspicious feature", feature, SUSPICIOUS_FEATURES)
        _require_between("age", self.age, 0, OLDEST_YEARS, "years")
        _require_between("nodule count", self.nodule_count, 0, MOST_NODULES, "nodules")
        self._require_fitting_solid_component()
        was_measured = self.prior is not None and (self.prior.size != Size() or self.prior.solid_mm is not None)
        if self.seen in ("baseline", "new") and was_measured:
            raise InputError(
                f"A nodule that is '{self.seen}' has no size on a prior CT. Leave the prior size out, or say that the nodule is known."
            )

    def _require_fitting_solid_component(self) -> None:
        if self.solid_mm is None:
            return
        _require_between("solid component", self.solid_mm, 0, LARGEST_MM, "mm")
        _require_visible("solid component", self.solid_mm)
        if self.nodule_type in ("solid", "ground_glass"):
            raise InputError(
                f"A {self.nodule_type.replace('_', '-')} nodule has no solid component ({self.solid_mm} mm given). "
                "Leave it out, or call the nodule part-solid."
            )
        whole_mm = self.size.long_mm if self.size.long_mm is not None else self.size.mean_diameter_mm
        if whole_mm is not None and self.solid_mm > whole_mm:
            raise InputError(
                f"The solid component ({self.solid_mm} mm) is larger than the nodule ({whole_mm} mm). Measure again."
            )


def sphere_diameter_mm(volume_mm3: float) -> float:
    """Diameter of the ball of this volume."""
    return float((6 * volume_mm3 / math.pi) ** (1 / 3))


def _require_between(words: str, value: float | None, above: float, most: float, unit: str) -> None:
    # Written so that NaN fails it too.
    if value is not None and not above < value <= most:
        raise InputError(f"The {words} cannot be {value} {unit}. Give a number above {above} and not over {most:g}.")


def _require_visible(words: str, length_mm: float | None) -> None:
    if length_mm is not None and length_mm < SMALLEST_MM:
        raise InputError(
            f"The {words} cannot be {length_mm} mm: CT shows nothing so small. Give millimetres, not centimetres."
        )


def _require_choice(words: str, value: str | None, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise InputError(f"The {words} cannot be '{value}'. Choose one of {', '.join(allowed)}.")
