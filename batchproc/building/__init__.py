"""Builds a run from its settings: what the command and `batchproc.run_jobs` have in common."""
