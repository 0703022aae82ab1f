"""Adds up what a job file will take: tokens, time, money. No I/O, no clock; lines come weighed, records go out."""
