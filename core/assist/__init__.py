"""Help with marking: what a person hints at becomes a proposal to accept or reject. No store, no jobs, no screen."""
