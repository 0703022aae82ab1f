"""The public Python API: what `import batchproc` offers; import it from there."""
