"""Follow-up: the same nodule in a prior CT, its growth, and whether that exceeds the repeatability."""
