"""The web page: its server, its files, and the part of the engine that runs in the browser."""
