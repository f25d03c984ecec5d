"""Random texts for the comparison of text normalizers with openai-whisper's."""

import random
import sys
import unicodedata
from collections.abc import Iterator

WORDS = """
o oh zero one two three four five six seven eight nine ten eleven twelve thirteen fifteen nineteen ones twos sixes tens
zeroth first second third fourth fifth eighth ninth tenth twelfth nineteenth twenty thirty forty ninety twenties sixties
twentieth ninetieth hundred thousand million billion trillion decillion hundreds thousands millions hundredth thousandth
minus negative plus positive pound pounds euro euros dollar dollars cent cents per percent and a half double triple
point the Mr. mrs st dr prof jr colour organised realise theatre grey won't can't let's I'd he's she's been gone done
got they're we'll ain't y'all gonna hmm um uh mm 3 14 3.14 007 1,000 0.5 $20 €5.50 £7 ¢9 $0.36 ¢70 50% -5 +3 10th 3rd
1960s 10km b747 RC232 [noise] (laughs) <unk> ' . , % $ ½ ² ٣ 1 0 1s
"""


def _characters() -> list[str]:
    """Return the characters of Unicode 3.2 whose category and normal form have not changed since, in any Python."""
    old, new = unicodedata.ucd_3_2_0, unicodedata

    def is_stable(c: str) -> bool:
        category = old.category(c)
        has_same_form = old.normalize("NFKD", c) == new.normalize("NFKD", c)
        return category not in ("Cn", "Co", "Cs") and category == new.category(c) and has_same_form

    return [*filter(is_stable, map(chr, range(sys.maxunicode + 1))), "\u200d", "\u200c", "\U000e0041"]


def texts(n: int, seed: int = 0) -> Iterator[str]:
    """Yield `n` texts, always the same for a seed."""
    source, words, characters = random.Random(seed), WORDS.split(), _characters()
    special = [c for c in characters if unicodedata.category(c) in ("Cf", "Mn", "Mc", "Lm", "Sk", "Nl", "No")]
    hangul = [chr(i) for i in (*range(0x1100, 0x1200, 7), *range(0xAC00, 0xAC40), 0xD7A3)]
    for _ in range(n):
        kind = source.random()
        if kind < 0.7:
            chosen = source.choices(words, k=source.randint(1, 9))
            between = source.choices(
                [" ", "  ", "-", "", ", ", ". ", " '", "\n"], [20, 1, 1, 1, 1, 1, 1, 1], k=len(chosen)
            )
            text = "".join(word + gap for word, gap in zip(chosen, between, strict=True))
            yield text.upper() if source.random() < 0.1 else text
        else:
            pools = source.choices(
                [characters, special, hangul, list("aé ß\r\n'<([])>")], [4, 2, 1, 2], k=source.randint(1, 12)
            )
            yield "".join(source.choice(pool) for pool in pools)
