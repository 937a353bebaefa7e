"""Readers: arrays, folders of images, tables, streams."""
