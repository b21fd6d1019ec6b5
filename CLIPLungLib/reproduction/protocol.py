"""What is compared: the paper's three settings, the rows of its table, both splits, and the figures of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.vocabulary import CLASSES

BENIGN, MALIGNANT = CLASSES.index("benign"), CLASSES.index("malignant")
BY_NODULE, BY_PATIENT = "nodule", "patient"
SPLITS = (BY_NODULE, BY_PATIENT)
# Names of LIDC-IDRI's attributes as words, in the order of vocabulary.ATTRIBUTES.
ATTRIBUTE_WORDS = (
    *("subtlety", "internal structure", "calcification", "sphericity"),
    *("margin", "lobulation", "spiculation", "texture"),
)


@dataclass(frozen=True)
class Task:
    """The classes of a network.

    Attributes:
        name: in names of files.
        classes: indices into vocabulary.CLASSES, in the order of the network's outputs and of its class texts.
    """

    name: str
    classes: tuple[int, ...]

    @property
    def class_words(self) -> tuple[str, ...]:
        """The name of each class, in the order of the network's outputs."""
        return tuple(CLASSES[index] for index in self.classes)

    def holds(self, label: np.ndarray) -> np.ndarray:
        """(N,) bool: whether labels (N,), indices into CLASSES, belong to the task."""
        return np.isin(label, self.classes)

    def answer_of(self, label: np.ndarray) -> np.ndarray:
        """(N,) index among the network's outputs, for labels of the task."""
        return np.searchsorted(self.classes, label)


THREE_CLASSES, TWO_CLASSES = Task("3classes", (0, 1, 2)), Task("2classes", (BENIGN, MALIGNANT))


@dataclass(frozen=True)
class Setting:
    """One of the paper's three.

    Attributes:
        name: A, B or C.
        task: the classes in training.
        judged: classes in test, indices into CLASSES; the prediction is one of them.
        words: says so.
    """

    name: str
    task: Task
    judged: tuple[int, ...]
    words: str


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting("A", THREE_CLASSES, (0, 1, 2), "three classes in training and test"),
        Setting("B", THREE_CLASSES, (BENIGN, MALIGNANT), "three classes in training, benign and malignant in test"),
        Setting("C", TWO_CLASSES, (BENIGN, MALIGNANT), "benign and malignant in training and test"),
    )
}


@dataclass(frozen=True)
class Row:
    """A row of the paper's table.

    Attributes:
        name: in names of files and on the command line.
        label: in tables.
        image_class, image_attribute, class_attribute: which losses join the cross entropy.
        paper_accuracy: setting -> the paper's accuracy in percent, as recalled.
    """

    name: str
    label: str
    image_class: bool
    image_attribute: bool
    class_attribute: bool
    paper_accuracy: dict[str, float] = field(hash=False)

    @property
    def has_texts(self) -> bool:
        """Whether training needs a text encoder."""
        return self.image_class or self.image_attribute or self.class_attribute


CROSS_ENTROPY, CLIP_LUNG = "cross-entropy", "clip-lung"
ROWS = {
    row.name: row
    for row in (
        Row(CROSS_ENTROPY, "cross entropy", False, False, False, {"A": 54.2, "B": 83.3, "C": 85.5}),
        Row("ic", "cross entropy + IC", True, False, False, {"A": 56.8, "B": 86.8, "C": 88.2}),
        Row("ic-ia", "cross entropy + IC + IA", True, True, False, {"A": 59.4, "B": 86.8, "C": 86.7}),
        Row("ic-ca", "cross entropy + IC + CA", True, False, True, {"A": 58.1, "B": 85.7, "C": 87.5}),
        Row(CLIP_LUNG, "CLIP-Lung", True, True, True, {"A": 60.9, "B": 87.5, "C": 89.5}),
    )
}
DEFAULT_ROWS = (CROSS_ENTROPY, CLIP_LUNG)


def find_setting(name: str) -> Setting:
    """A setting by its letter.

    Raises:
        InputError: there is no such setting.
    """
    if name not in SETTINGS:
        known = "; ".join(f"{setting.name}: {setting.words}" for setting in SETTINGS.values())
        raise InputError(f"Setting '{name}' is none of the paper's. Choose one of {known}.")
    return SETTINGS[name]


def find_rows(names: Sequence[str]) -> list[Row]:
    """Rows by their names, in the order of the table.

    Raises:
        InputError: there is no such row.
    """
    for name in names:
        if name not in ROWS:
            raise InputError(f"Row '{name}' is not in the table. Choose among {', '.join(ROWS)}.")
    return [row for row in ROWS.values() if row.name in names]


def find_splits(names: Sequence[str]) -> list[str]:
    """Ways to split by their names, in the order of the table.

    Raises:
        InputError: there is no such way.
    """
    for name in names:
        if name not in SPLITS:
            raise InputError(f"Split '{name}' is not known. Choose among {', '.join(SPLITS)}.")
    return [split for split in SPLITS if split in names]
