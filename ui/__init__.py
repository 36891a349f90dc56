"""What people touch: pages, components, the command line."""
