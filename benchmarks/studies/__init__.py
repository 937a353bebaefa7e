"""The project's own studies; not shipped. They may import every package."""
