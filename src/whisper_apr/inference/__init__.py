"""Tokens out of features; text out of tokens."""
