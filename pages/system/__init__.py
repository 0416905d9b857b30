"""System: jobs."""
