"""Data: projects, import, cases."""
