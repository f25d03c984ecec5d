// The words of a segment after a correction: which are the old ones, and when the new ones are spoken.

// Split a text into words that keep the space before them. Text without spaces is split as its language does.
function split(text) {
  if (/\s/.test(text.trim())) return text.match(/\s*\S+/g) ?? [];
  if (!text.trim()) return [];
  return Array.from(new Intl.Segmenter(undefined, { granularity: "word" }).segment(text), ({ segment }) => segment);
}

const isSame = (a, b) => a.trim() === b.trim();

// Pairs of indices of a longest common subsequence.
function match(old, fresh) {
  const lengths = Array.from({ length: old.length + 1 }, () => new Uint16Array(fresh.length + 1));
  for (let i = old.length - 1; i >= 0; i--) {
    for (let j = fresh.length - 1; j >= 0; j--) {
      lengths[i][j] = isSame(old[i], fresh[j])
        ? lengths[i + 1][j + 1] + 1
        : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
    }
  }
  const pairs = [];
  for (let i = 0, j = 0; i < old.length && j < fresh.length; ) {
    if (isSame(old[i], fresh[j])) pairs.push([i++, j++]);
    else if (lengths[i + 1][j] >= lengths[i][j + 1]) i++;
    else j++;
  }
  return pairs;
}

// Divide the time from `start` to `end` among words by their length.
function spread(texts, start, end) {
  const total = texts.reduce((sum, text) => sum + text.trim().length, 0) || 1;
  let done = 0;
  const next = () => Math.min(end, start + ((end - start) * done) / total);
  return texts.map((word) => {
    const begin = next();
    done += word.trim().length;
    return { word, start: begin, end: done === total ? end : next(), probability: 1 };
  });
}

/**
 * Return the words of a corrected text. Words that were there before keep their times and probabilities; new words get
 * the time between their neighbors, and probability 1.
 *
 * `words` are those of a segment before the correction; `start` and `end` are its times in seconds.
 */
export function retime(words, text, start, end) {
  const fresh = split(text);
  const pairs = match(words.map(({ word }) => word), fresh);
  const found = [];
  let [i, j, time] = [0, 0, words[0]?.start ?? start];
  for (const [nextOld, nextFresh] of [...pairs, [words.length, fresh.length]]) {
    const replaced = words.slice(i, nextOld);
    const until = words[nextOld]?.start ?? Math.max(time, words.at(-1)?.end ?? end);
    if (nextFresh > j) {
      const [from, to] = replaced.length ? [replaced[0].start, replaced.at(-1).end] : [time, until];
      found.push(...spread(fresh.slice(j, nextFresh), from, to));
    }
    if (nextOld < words.length) {
      found.push({ ...words[nextOld], word: fresh[nextFresh] });
      time = words[nextOld].end;
    }
    [i, j] = [nextOld + 1, nextFresh + 1];
  }
  return found;
}
