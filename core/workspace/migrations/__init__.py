"""How the database came to look as it does, one file a step. ``HEAD`` is the newest step."""

HEAD = "0006"
