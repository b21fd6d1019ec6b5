"""The answer of a guideline: category, the rule that led to it, and where it is published."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

NOTICE = "Research use only. A guideline's table is no diagnosis: the reader decides, with the whole patient in view."


@dataclass(frozen=True)
class Decision:
    """The cell of a table.

    Attributes:
        key: category, or the name of the recommendation.
        rule: the thresholds and inputs that led to it, in words.
        probability: of cancer (0..1), where one was needed.
    """

    key: str
    rule: str
    probability: float | None = None


@dataclass(frozen=True)
class Recommendation:
    """What a guideline says of a case.

    Attributes:
        guideline, version: of the publication.
        key: category, or the name of the recommendation.
        rule: the thresholds and inputs that led to it, in words.
        management: what the guideline advises, in our words.
        source: citation.
        doi: of the publication.
        warnings: what the reader should know before trusting it.
        probability: of cancer, where the guideline estimates one.
    """

    guideline: str
    version: str
    key: str
    rule: str
    management: str
    source: str
    doi: str
    warnings: tuple[str, ...] = ()
    probability: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "warnings": list(self.warnings)}


@dataclass(frozen=True)
class Guideline:
    """A publication.

    Attributes:
        name: as readers call it.
        version: year or version.
        source: authors, title in short, journal.
        doi: of the publication.
    """

    name: str
    version: str
    source: str
    doi: str

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}"

    def recommends(self, decision: Decision, management: str, warnings: Iterable[str]) -> Recommendation:
        """The answer under this publication's name."""
        return Recommendation(
            guideline=self.name,
            version=self.version,
            key=decision.key,
            rule=decision.rule,
            management=management,
            source=self.source,
            doi=self.doi,
            warnings=tuple(warnings),
            probability=decision.probability,
        )
