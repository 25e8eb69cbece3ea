"""Form one: every idea written out in plain tensor code, forward and backward by hand. Start with README.md."""
