"""Turns of speakers in NIST's Rich Transcription Time Marked format, in which diarization is evaluated."""

UNKNOWN = "<NA>"


def rttm_line(recording: str, start: float, end: float, speaker: str | None) -> str:
    """Return the line of a turn.

    Args:
        recording: Name of the recording; spaces in names become underscores, since they separate fields.
        start: Seconds.
        end: Seconds.
        speaker: None if it is not known.
    """
    name = UNKNOWN if speaker is None else _without_spaces(speaker)
    times = f"{start:.3f} {max(0, end - start):.3f}"
    return f"SPEAKER {_without_spaces(recording)} 1 {times} {UNKNOWN} {UNKNOWN} {name} {UNKNOWN} {UNKNOWN}\n"


def _without_spaces(name: str) -> str:
    return "_".join(name.split()) or "_"
