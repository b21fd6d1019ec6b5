"""What to cite wherever a figure, a weight file or a model card made from LIDC-IDRI is published."""

DATA_CITATION = (
    "Armato SG III, et al. Data From LIDC-IDRI. The Cancer Imaging Archive (2015). doi:10.7937/K9/TCIA.2015.LO9QL9SX; "
    "Armato SG III, et al. Med Phys 38:915-931 (2011). CC BY 3.0."
)
METHOD_CITATION = "Lei Y, et al. CLIP-Lung: Textual Knowledge-Guided Lung Nodule Malignancy Prediction. MICCAI 2023. arXiv:2304.08013."
