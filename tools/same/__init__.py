"""Whether two checkouts of lossbench compute the same, to the bit; it imports neither."""
