"""Names of the outputs of the second reader. In a file of their own, as they need no torch."""

from __future__ import annotations

MALIGNANCY, LOG_DIAMETER = "malignancy", "log_diameter"
# Signs whose codes are grades. Kinds of calcification and of inner structure have no mean.
GRADED_SIGNS = ("subtlety", "sphericity", "margin", "lobulation", "spiculation", "texture")
# The order of its outputs: mean ratings, and the natural logarithm of mm.
SECOND_OUTPUTS = (MALIGNANCY, LOG_DIAMETER, *GRADED_SIGNS)
