"""The suffixes of files that are taken for recordings."""

# Files of a folder that are recordings, by suffix. A file that is named itself may have any suffix.
SUFFIXES = frozenset(
    [
        ".wav",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".aif",
        ".aiff",
        ".au",
        ".w64",
        ".m4a",
        ".mp4",
        ".aac",
        ".wma",
        ".webm",
        ".mkv",
        ".mov",
        ".mka",
        ".avi",
    ]
)
