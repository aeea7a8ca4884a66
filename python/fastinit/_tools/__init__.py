"""What ``python -m fastinit`` runs."""
