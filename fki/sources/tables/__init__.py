"""Builds a dataset folder from any table with columns for subject, relation and object."""
