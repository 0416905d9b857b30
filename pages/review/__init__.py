"""Review: comparing readers."""
