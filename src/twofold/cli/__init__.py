"""The command line: one thin file a verb. Nothing here computes; nothing here is imported by anything else."""
