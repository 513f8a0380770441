"""The audio that callers speak: manifest, loading, building."""
