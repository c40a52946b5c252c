"""Of the tables of towns and tiles."""
