"""Whose word a probability is about: LIDC-IDRI's readers, readers of local cases, or what pathology and follow-up found.

The one place of its wording in English.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from CLIPLungLib.vocabulary import CLASSES

READERS, OUTCOME = "readers", "outcome"
# An outcome is benign or malignant.
OUTCOME_CLASSES = (CLASSES[0], CLASSES[-1])
LONGEST_TABLE_NAME, MOST_CASES = 255, 10_000_000


@dataclass(frozen=True)
class Truth:
    """What the probability was calibrated on.

    Attributes:
        whose: READERS or OUTCOME.
        cases: local nodules; 0 for the calibration on LIDC-IDRI that the network was trained with.
        patients: they are of.
        events: those of them with a mean rating > 3, or a malignant outcome.
        table: file name of their table, without its folder.
        date: of the calibration, YYYY-MM-DD.
    """

    whose: str = READERS
    cases: int = 0
    patients: int = 0
    events: int = 0
    table: str = ""
    date: str = ""

    def __post_init__(self) -> None:
        if self.whose not in (READERS, OUTCOME):
            raise ValueError(f"the truth is of {READERS} or of an {OUTCOME}, not of '{self.whose}'")
        counts = (self.cases, self.patients, self.events)
        if not (all(0 <= count <= MOST_CASES for count in counts) and max(counts) == self.cases):
            raise ValueError(f"{self.cases} cases, {self.patients} patients and {self.events} events do not fit")
        if self.whose == OUTCOME and self.cases == 0:
            raise ValueError("an outcome needs local cases")
        if len(self.table) > LONGEST_TABLE_NAME or len(self.date) > len("YYYY-MM-DD"):
            raise ValueError("the table's name or the date is too long")

    @property
    def is_local(self) -> bool:
        """Whether local cases had the last word."""
        return self.cases > 0

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes it knows: an outcome is never unsure."""
        return OUTCOME_CLASSES if self.whose == OUTCOME else CLASSES

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


LIDC_READERS = Truth()


def truth_phrase(truth: Truth) -> str:
    """The event of the probability, as in "P(...)"."""
    if truth.whose == OUTCOME:
        return f"malignant by outcome of {_local_cases(truth)}"
    return f"malignancy rating > 3 by readers of {_local_cases(truth)}" if truth.is_local else "malignancy rating > 3"


def short_phrase(truth: Truth) -> str:
    """Whose word it is, where there is little room."""
    if not truth.is_local:
        return "by LIDC-IDRI readers"
    return f"by {'outcome' if truth.whose == OUTCOME else 'readers'}, {_local_cases(truth)}"


def notice(truth: Truth) -> str:
    """What must stand beside every answer."""
    estimate = "Research use only. The probability is the model's estimate of"
    if truth.whose == OUTCOME:
        return f"{estimate} the outcome, calibrated on {_local_cases(truth)}. Signs are the opinion of the LIDC-IDRI readers."
    readers = f"readers of {_local_cases(truth)}" if truth.is_local else "LIDC-IDRI readers"
    return f"{estimate} the opinion of the {readers}, not of pathology."


def _local_cases(truth: Truth) -> str:
    return f"{truth.cases} local case{'s' * (truth.cases != 1)}"
