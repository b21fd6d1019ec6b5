"""Published guidelines for a nodule that a reader measured and described: pure functions, no image."""
