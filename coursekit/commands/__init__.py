"""What `coursekit` can do on the command line."""
