"""Times in the speech are converted to the recording: in order, within it, and words within their segment."""

from hypothesis import example, given
from hypothesis import strategies as st

from invariants import check_segments
from whisper_apr.audio import SpeechMap
from whisper_apr.audio.vad import Span
from whisper_apr.inference.results import Segment, Word
from whisper_apr.inference.vad_filter import SpeechTimeMap


@example([(0, 160), (8, 160)], [0, 0, 0, 0, 0, 50])
@given(
    st.lists(st.tuples(st.integers(0, 40_000), st.integers(160, 90_000)), min_size=1, max_size=5),
    st.lists(st.integers(0, 100), min_size=6, max_size=6),
)
def test_order_is_preserved(parts, hundredths):
    """Also at the joints, where one time in the speech is two in the recording."""
    spans, at = [], 0
    for gap, length in parts:
        spans.append(Span(at + gap, at + gap + length))
        at = spans[-1].end
    time_map = SpeechTimeMap()
    time_map.map, time_map.n_samples = SpeechMap(spans), at
    seams = [length / 16_000 for _, length in parts]
    total = sum(seams)
    moments = [*(sum(seams[:i]) for i in range(len(seams) + 1)), *(total * part / 100 for part in hundredths)]
    points = sorted(moments)
    segments = []
    for number, (a, b, c, d) in enumerate(zip(*[iter(points)] * 4, strict=False)):
        words = (Word(" a", a, b, 1.0), Word(" b", c, d, 1.0))
        segments.append(Segment(number, int(a * 100), a, d, " a b", (1,), 0.0, 0.0, 1.0, 0.0, words))
    check_segments([time_map.restore_times(segment) for segment in segments], at / 16_000)
