"""Word times: cross-attention aligned with the text, then corrected by the loudness of the sound."""
