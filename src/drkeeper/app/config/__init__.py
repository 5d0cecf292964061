"""Configuration: files, policies, the environment and secrets.

The only package that reads the environment. What leaves it is checked and frozen.
"""
