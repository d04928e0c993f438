"""Tasks, and the data sets that have to be downloaded."""
