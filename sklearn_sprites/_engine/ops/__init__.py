"""Pure functions of tensors: no module, no device literal, no global randomness."""
