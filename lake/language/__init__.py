"""The words of a configuration that mean data: names of traits, and expressions over calls."""
