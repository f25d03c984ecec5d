// The times of a corrected segment's words.
import assert from "node:assert/strict";
import { test } from "node:test";
import { retime } from "../../src/whisper_apr/web/static/page/words.js";

const word = (text, start, end) => ({ word: text, start, end, probability: 0.5 });
const WORDS = [word(" one", 1, 1.5), word(" two", 1.5, 2), word(" three", 2.25, 3), word(" four", 3, 4)];
const short = (words) => words.map(({ word, start, end }) => [word, start, end]);

test("an unchanged text keeps its words", () => {
  assert.deepEqual(retime(WORDS, " one two three four", 1, 4), WORDS);
});

test("a replaced word takes the time of the old one; its neighbors are kept", () => {
  const found = retime(WORDS, " one too three four", 1, 4);
  assert.deepEqual(found, [WORDS[0], { ...word(" too", 1.5, 2), probability: 1 }, WORDS[2], WORDS[3]]);
});

test("several words share the time of the one that they replace, by their lengths", () => {
  const found = retime(WORDS, " one two th reeee four", 1, 4);
  assert.deepEqual(short(found)[2], [" th", 2.25, 2.25 + 0.75 * (2 / 7)]);
  assert.deepEqual(short(found)[3], [" reeee", 2.25 + 0.75 * (2 / 7), 3]);
  assert.deepEqual(found[4], WORDS[3]);
});

test("an inserted word takes the pause between its neighbors", () => {
  assert.deepEqual(short(retime(WORDS, " one two and three four", 1, 4))[2], [" and", 2, 2.25]);
});

test("words can be deleted, put first, and put last", () => {
  assert.deepEqual(retime(WORDS, " two four", 1, 4), [WORDS[1], WORDS[3]]);
  assert.deepEqual(short(retime(WORDS, " zero one two three four", 1, 4))[0], [" zero", 1, 1]);
  assert.deepEqual(short(retime(WORDS, " one two three four five", 1, 4))[4], [" five", 4, 4]);
  assert.deepEqual(retime(WORDS, "", 1, 4), []);
});

test("all words are new", () => {
  const found = retime(WORDS, " something else", 1, 4);
  assert.equal(found[0].start, 1);
  assert.equal(found[1].end, 4);
  assert.equal(found[0].end, found[1].start);
});

test("a text without spaces is split as its language does", () => {
  const words = [word("こん", 0, 1), word("にちは", 1, 2), word("世界", 2, 3)];
  const found = retime(words, "こんばんは世界", 0, 3);
  assert.equal(found.map(({ word }) => word).join(""), "こんばんは世界");
  assert.ok(found.length >= 2);
  assert.deepEqual(found.at(-1), words[2]);
});

test("times never run backwards, and the text is that which was given", () => {
  const pool = ["one", "two", "three", "four", "five"];
  for (let seed = 1; seed < 500; seed++) {
    let state = seed;
    const random = (n) => (state = (state * 48271) % 2147483647) % n;
    const text = Array.from({ length: random(7) }, () => ` ${pool[random(5)]}`).join("");
    const found = retime(WORDS, text, 1, 4);
    assert.equal(found.map(({ word }) => word).join(""), text);
    const times = found.flatMap(({ start, end }) => [start, end]);
    const isRight = (time, i) => time >= 1 && time <= 4 && (i === 0 || time >= times[i - 1]);
    assert.ok(times.every(isRight), `${text}: ${times}`);
  }
});
