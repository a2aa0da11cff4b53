"""What the services say to each other: data only, no behaviour and no I/O."""
