"""A night from the outside: where it runs, how it is planned and finished, what it prints."""
