"""Where a heat map begins to be drawn. Apart from the result, so that Slicer's start-up need not import it."""

# Relevance below this is not drawn, and a map that stays below it everywhere is called empty.
HEAT_THRESHOLD = 0.25
