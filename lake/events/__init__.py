"""Calls: how a line becomes typed columns, why it is refused, which of two is the duplicate."""
