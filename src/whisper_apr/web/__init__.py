"""The web page: its server, and the session that runs in the browser."""
