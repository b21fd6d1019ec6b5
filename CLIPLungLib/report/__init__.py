"""What a reader takes away: the picture of a result (`figure.save_report`) and the files beside it (`files`)."""
