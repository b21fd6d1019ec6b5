"""What holds for any volume, point and patch: property and metamorphic tests."""
