"""The fixed text of the card."""

from __future__ import annotations

from CLIPLungLib.inference.result import DISCLAIMER
from CLIPLungLib.lidc.citations import DATA_CITATION, METHOD_CITATION

HEAD = f"""# Model card: CLIP-Lung

> **{DISCLAIMER}**

CLIP-Lung gives, for one click on a lung nodule in a CT: a calibrated probability that radiologists' mean malignancy rating exceeds 3 of 5,
the classes benign, unsure and malignant, the eight signs of the LIDC vocabulary by comparison with their texts, an outline with diameters
and volume, and a heat map of the evidence. A shared 2-D encoder reads the axial planes around the click; a learned gate pools them.
A second model, the second reader (kernel ridge regression on frozen ImageNet features of the nodule's central plane), contributes to probability, signs, diameter and, in that plane, to the map.
The texts are encoded once, during training, and stored in the weights file."""

USE = """## Intended use

- Research on how lung nodules are described and judged, on chest CT of adults, with a click on a nodule that a person has found.
- Teaching, and a second look at one's own ratings against those of the LIDC readers.

## Not intended

- Diagnosis, screening, triage, follow-up or treatment of patients. It is no medical device, and nobody has tested it as one.
- A statement about cancer. The target is the opinion of up to four radiologists on the image; it is not pathology, and not the course of the disease.
- Finding nodules. An answer for a point that holds no nodule means nothing.
- Anything but chest CT in Hounsfield units; children; nodules larger than the patch; scans after surgery or of known cancer elsewhere."""

DATA = f"""## Data

LIDC-IDRI: chest CT of seven institutions, nodules of 3 mm and more rated by up to four radiologists, each on their own.
Licence CC BY 3.0. Cite it with every figure and every weight file made from it:

{DATA_CITATION}

Method: {METHOD_CITATION}"""

PROTOCOL = """- **Patient folds.** Every nodule of a patient lies in the same fold. Each fold is predicted by a model for which its patients were used neither for training nor for model selection.
- **Out of fold, end to end.** All figures and plots use these predictions only. Each fold's checkpoint is loaded from its file and runs the inference code of the product: two passes,
  the second centred on the outline; planes outside the scan are left out. Its calibrations come from the other folds.
- **The rule is stated with every figure**, because it affects the figure more than the choice of model usually does. Benign is a mean below 2.5, malignant above 3.5,
  unsure from 2.5 to 3.5. The event is a mean above 3: exactly 3 is no event, and only the AUC *above against below 3* leaves it out.
- **Size-only baseline.** Large nodules are rated as suspicious: the diameter alone is the baseline, and the paired difference to it is what the image adds.
- **One reader** and the model are evaluated alike (leave one reader out): both are compared with the mean of the nodule's other readers.
- **Intervals** are 95 % bootstrap intervals; patients are drawn, with all their nodules."""

LIMITS = """## Limits

- The readers disagree with one another, and their mean is the reference standard here. Good agreement with it is agreement with opinion.
- The probability is calibrated for nodules chosen as LIDC chose them. In a population with fewer suspicious nodules it is too high.
- The collection was published in 2011: newer scanners, reconstructions and protocols are not in it.
- Most volumes used here end in z where the nodule ends. The check in true context rests on far fewer nodules, and says how many.
- The noise of the robustness check is white, and its thick slices are averages of thin ones; a scanner's own kernel and noise are neither.
- Rare types (calcification patterns, fat, cavities, ground glass) have few cases: their figures are the least certain.
- Age, sex, smoking and earlier scans are unknown to the model and not in the table used here: no figure here is by subgroup of patients."""
