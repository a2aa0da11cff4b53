"""How the suite is run: on one machine (`local`) and beyond."""
