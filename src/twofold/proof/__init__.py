"""The one table of ideas, and the proof that their two forms are equal."""
