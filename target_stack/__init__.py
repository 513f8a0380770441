"""The bundled voice agent: the target Callquake is demonstrated, tested and taught on."""
