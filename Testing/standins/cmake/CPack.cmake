# Packaging is the real one's alone.
