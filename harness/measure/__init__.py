"""Pure: records to numbers."""
