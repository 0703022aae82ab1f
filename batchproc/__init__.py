"""batchproc: send a file of LLM requests under rate limits, in order, resumable."""

__version__ = "0.1.0"
