"""The `profile-lake` command, thin: it parses, calls, prints."""
