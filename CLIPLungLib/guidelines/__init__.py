"""What published guidelines say of a nodule that a reader measured and described: pure functions, no image."""
