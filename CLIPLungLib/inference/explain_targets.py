"""What a heat map can explain: a number of the network's answer for each name, to be differentiated by Grad-CAM."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from CLIPLungLib.errors import InputError
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES, ATTRIBUTE_OF_NAME, ATTRIBUTES, Attribute, level_columns

if TYPE_CHECKING:
    from torch import Tensor

    from CLIPLungLib.model.network import NetworkOutput

    # (B,) of B patches, not yet calibrated.
    Target = Callable[[NetworkOutput], Tensor]

SUSPICION, HARMLESSNESS = "suspicion", "harmlessness"
EXPLAINABLE = (SUSPICION, HARMLESSNESS, *ATTRIBUTE_NAMES)
# Where the codes are kinds, the map shows what speaks for anything but the usual one: something other than soft tissue, calcification.
USUAL_CODE = {"internalStructure": 1, "calcification": 6}


def explains(name: str) -> str:
    """What a map of one of EXPLAINABLE shows, in words: "what speaks for ..."."""
    if name in (SUSPICION, HARMLESSNESS):
        return name
    attribute = ATTRIBUTE_OF_NAME[name]
    usual = USUAL_CODE.get(name)
    if usual is not None:
        return f"{attribute.title.lower()} other than '{attribute.levels[usual - 1]}'"
    return f"{attribute.title.lower()} '{attribute.levels[-1]}'"


def require_explainable(name: str) -> str:
    """The name itself.

    Raises:
        InputError: nothing of that name can be explained.
    """
    if name not in EXPLAINABLE:
        raise InputError(f"'{name[:40]}' cannot be explained. Choose from {', '.join(EXPLAINABLE)}.")
    return name


def explain_targets(level_text: Tensor, text_scale: float) -> Mapping[str, Target]:
    """One of EXPLAINABLE -> what is differentiated for its map.

    Suspicion is the malignancy score, harmlessness its negative. A sign of degrees is its expected code from the texts; a sign of kinds
    the log odds of anything but the usual kind, which do not fade where the network is sure.

    Args:
        level_text: (M, D) unit vectors of all levels, attribute after attribute.
        text_scale: 1 / tau of the comparison with texts.
    """
    targets: dict[str, Target] = {
        SUSPICION: lambda output: output.malignancy_score,
        HARMLESSNESS: lambda output: -output.malignancy_score,
    }
    return targets | {attribute.name: _sign_target(attribute, level_text, text_scale) for attribute in ATTRIBUTES}


def _sign_target(attribute: Attribute, level_text: Tensor, text_scale: float) -> Target:
    texts, usual = level_text[level_columns(attribute.name)], USUAL_CODE.get(attribute.name)

    def logits(output: NetworkOutput) -> Tensor:
        """(B, L) of the attribute's levels; the groups are averaged as in the answer."""
        image = output.image_features
        return text_scale * (image @ texts.to(image).T).mean(dim=1)

    def expected_code(output: NetworkOutput) -> Tensor:
        found = logits(output)
        return found.softmax(dim=1) @ found.new_tensor(attribute.codes)

    if usual is None:
        return expected_code
    others = [code - 1 for code in attribute.codes if code != usual]

    def unusual(output: NetworkOutput) -> Tensor:
        found = logits(output)
        return found[:, others].logsumexp(dim=1) - found[:, usual - 1]

    return unusual
