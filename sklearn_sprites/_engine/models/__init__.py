"""Models made of modules and ops."""
