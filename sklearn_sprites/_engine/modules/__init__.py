"""Where parameters live: encoders, heads, sprites."""
