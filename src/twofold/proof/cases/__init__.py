"""The parity cases of the ideas, a file for each room of `scratch`."""
