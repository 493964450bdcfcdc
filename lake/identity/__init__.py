"""Who is one person: identifiers, guards, links, components, resolution, ids."""
