"""What a reader takes away: the picture of a result (`page.save_report`) and the DICOM structured report."""
