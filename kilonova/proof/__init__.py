"""What shows that a cloud works: verification, trace, Tempest and their report."""
