"""Outputs of a result: the report page (`page.save_report`), the DICOM structured report and segmentation."""
