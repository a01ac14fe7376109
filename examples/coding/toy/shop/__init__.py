"""A shop with a basket and a receipt, small enough to be read at once."""
