"""Measurements beside the peers; `python -m bench` runs them all and prints one table."""
