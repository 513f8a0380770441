"""The report's charts: figures in, inline SVG out. Colours are classes, so that they follow light, dark and print."""
