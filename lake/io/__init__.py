"""The edge: session, Delta, objects, plans, lease, publications; nothing else knows storage."""
