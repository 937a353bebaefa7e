"""Texts as data: class folders of files."""
