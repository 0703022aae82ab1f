"""Tells what a run did, over time: as text in a terminal, or as one page for a browser."""
