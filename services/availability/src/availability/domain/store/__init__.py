"""Everything a replica knows of its properties, packed: their nights, ranges, terms and profiles by row."""
