"""Help with marking: what a person hints at becomes a proposal to accept or reject. No store, no jobs, no screen."""

TOOLS = ("region", "scribble", "click", "grow", "model")  # what the browser may ask for
