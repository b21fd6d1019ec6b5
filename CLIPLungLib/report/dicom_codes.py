"""Codes of a structured report: those of the LIDC-IDRI reports (Fedorov A, et al. Med Phys 47:5953-5965, 2020) where there are such, else own ones.

Every code is (value, scheme, meaning). NCIt is the NCI Thesaurus, RADLEX the lexicon of the RSNA, SCT SNOMED CT, LN LOINC;
99CLIPLUNG is private.
"""

from __future__ import annotations

from CLIPLungLib.calibration.truth import OUTCOME, READERS
from CLIPLungLib.vocabulary import ATTRIBUTES, CLASSES

Code = tuple[str, str, str]

PRIVATE = "99CLIPLUNG"
CHEST_CT: Code = ("24627-2", "LN", "CT Chest")
NODULE: Code = ("27925004", "SCT", "Nodule")
LUNG: Code = ("39607008", "SCT", "Lung")
LONG_AXIS: Code = ("103339001", "SCT", "Long Axis")
DIAMETER: Code = ("81827009", "SCT", "Diameter")
VOLUME: Code = ("118565006", "SCT", "Volume")
SHORT_AXIS: Code = ("103340004", "SCT", "Short Axis")
CENTER: Code = ("111010", "DCM", "Center")
# By what the sizes were measured.
METHODS: dict[bool, Code] = {
    False: ("outline-program", PRIVATE, "Outline drawn by the program"),
    True: ("outline-by-hand", PRIVATE, "Outline corrected by hand"),
}
MM: Code = ("mm", "UCUM", "mm")
MM3: Code = ("mm3", "UCUM", "cubic millimeter")
NO_UNITS: Code = ("1", "UCUM", "no units")
# By whose word. Not DCM's "Probability of cancer": this is about readers' opinion, or about the outcome of local cases alone.
PROBABILITIES: dict[str, Code] = {
    READERS: ("suspicion", PRIVATE, "Probability that readers rate it as suspicious"),
    OUTCOME: ("outcome", PRIVATE, "Probability of a malignant outcome"),
}
SUSPICION: Code = ("RID36042", "RADLEX", "Malignancy")
CLASS_CODES: dict[str, dict[str, Code]] = {
    READERS: {name: (f"class-{name}", PRIVATE, f"Estimated rating: {name}") for name in CLASSES},
    OUTCOME: {name: (f"out-{name}", PRIVATE, f"Estimated outcome: {name}") for name in CLASSES},
}

SIGNS: dict[str, Code] = {
    "subtlety": ("C45992", "NCIt", "Subtlety score"),
    "internalStructure": ("internalstruct", PRIVATE, "Internal structure"),
    "calcification": ("C3672", "NCIt", "Calcification"),
    "sphericity": ("sphericity", PRIVATE, "Sphericity"),
    "margin": ("C25563", "NCIt", "Margin"),
    "lobulation": ("C62175", "NCIt", "Lobular Pattern"),
    "spiculation": ("C28749", "NCIt", "Spiculation"),
    "texture": ("C41144", "NCIt", "Texture"),
}
# Sign and code of the LIDC scale -> standard code; levels in between have none.
LEVELS: dict[tuple[str, int], Code] = {
    ("internalStructure", 1): ("C12471", "NCIt", "Soft tissue"),
    ("internalStructure", 2): ("C25278", "NCIt", "Fluid"),
    ("internalStructure", 3): ("C12472", "NCIt", "Adipose tissue"),
    ("internalStructure", 4): ("C73434", "NCIt", "Air"),
    ("calcification", 1): ("RID35453", "RADLEX", "Popcorn calcification sign"),
    ("calcification", 3): ("RID5741", "RADLEX", "Solid appearance"),
    ("calcification", 5): ("RID5827", "RADLEX", "Central calcification"),
    ("calcification", 6): ("RID28473", "RADLEX", "Absent"),
    ("sphericity", 1): ("RID5811", "RADLEX", "linear"),
    ("sphericity", 3): ("RID5800", "RADLEX", "ovoid"),
    ("sphericity", 5): ("RID5799", "RADLEX", "round"),
    ("margin", 1): ("RID5709", "RADLEX", "Indistinct margin"),
    ("margin", 5): ("RID5707", "RADLEX", "Circumscribed margin"),
    ("texture", 1): ("RID50153", "RADLEX", "non-solid pulmonary nodule"),
    ("texture", 3): ("RID50152", "RADLEX", "part-solid pulmonary nodule"),
    ("texture", 5): ("RID50151", "RADLEX", "solid pulmonary nodule"),
}


def level_code(sign: str, level: int) -> Code:
    """The code of a level (1..) of one of ATTRIBUTE_NAMES."""
    words = next(attribute.levels[level - 1] for attribute in ATTRIBUTES if attribute.name == sign)
    return LEVELS.get((sign, level), (f"{sign[:13]}-{level}", PRIVATE, f"{level}: {words}"[:64]))


def similarity_code(sign: str) -> Code:
    """What the cosine between image and text of a sign is called."""
    return f"sim-{sign[:12]}", PRIVATE, f"Similarity to {SIGNS[sign][2]}"
