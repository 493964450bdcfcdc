"""What is published about a person: traits and the snapshot, as regroupings of facts."""
