"""Loops over the UTF-8 bytes of texts, compiled by numba: runs of words, repetition, characters.

Each takes the two buffers of an Arrow string array, `data` uint8 and `offsets` int32 or int64 [texts + 1], and
returns flat arrays with offsets of their own. All is whole-number arithmetic, so that every processor gives the same
values. None holds Python's lock. `docs/benchmarks/near-duplicates.md` says what they save over the same in SQL.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# FNV-1a over code points (Fowler, Noll and Vo 1991), then the finaliser of SplitMix64 (Steele, Lea and Flood 2014)
FNV_OFFSET, FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
U = np.uint64
FULL = U(0xFFFFFFFFFFFFFFFF)
SAMPLED_BELOW = U(1 << 61)  # of a long text, the runs in this lowest eighth of all hashes are its sample


def compiled(function: Any) -> Any:
    """The function, compiled at its first call; kept for later processes where there is a place to write it to."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither beside this file nor in the user's cache
        return numba.njit(nogil=True)(function)


@compiled
def mixed(bits: Any) -> Any:
    bits = (bits ^ (bits >> U(30))) * MIX_1
    bits = (bits ^ (bits >> U(27))) * MIX_2
    return bits ^ (bits >> U(31))


@compiled
def rotated(bits: Any, places: Any) -> Any:
    places = U(places & 63)
    return (bits << places) | (bits >> ((U(64) - places) & U(63))) if places else bits


@compiled
def code_point(data: Array, place: int) -> Any:
    """The character that begins at `place`, and where the next one begins."""
    first = np.int64(data[place])
    if first < 0x80:
        return first, place + 1
    if first < 0xE0:
        return (first & 0x1F) << 6 | np.int64(data[place + 1]) & 0x3F, place + 2
    if first < 0xF0:
        return (
            (first & 0x0F) << 12 | (np.int64(data[place + 1]) & 0x3F) << 6 | np.int64(data[place + 2]) & 0x3F,
            place + 3,
        )
    return (
        (first & 0x07) << 18
        | (np.int64(data[place + 1]) & 0x3F) << 12
        | (np.int64(data[place + 2]) & 0x3F) << 6
        | np.int64(data[place + 3]) & 0x3F,
        place + 4,
    )


# --- runs of words ----------------------------------------------------------------------------------------------------


@compiled
def hash_words(data: Array, start: int, end: int, folded: Array, hashes: Array) -> int:
    """Fills `hashes` with those of the text's words in their order, and says how many there are.

    `folded` has for each code point that of its lower case, 0 for what is no part of a word.
    """
    words, inside = 0, False
    word = FNV_OFFSET
    place = start
    while place < end:
        point, place = code_point(data, place)
        letter = folded[point] if point < folded.shape[0] else np.uint32(0)
        if letter:
            word = (word ^ U(letter)) * FNV_PRIME
            inside = True
        elif inside:
            hashes[words] = mixed(word)
            words += 1
            word, inside = FNV_OFFSET, False
    if inside:
        hashes[words] = mixed(word)
        words += 1
    return words


@compiled
def hash_runs(words: Array, size: int, runs: Array) -> Any:
    """Fills `runs` with the hash of each run of `size` words, and says how many there are.

    By cyclic polynomials (Cohen 1997): each word's hash, rotated by its place in the run. `runs` may be `words`: a
    run is written where no later one is read.
    """
    count = words.shape[0] - size + 1
    if count <= 0:
        return 0
    run = U(0)
    for place in range(size):
        run ^= rotated(words[place], place)
    for place in range(count - 1):
        first, following = words[place], words[place + size]
        runs[place] = run
        run = rotated(run ^ first, 63) ^ rotated(following, size - 1)
    runs[count - 1] = run
    return count


@compiled
def longest(offsets: Array) -> Any:
    most = 0
    for text in range(offsets.shape[0] - 1):
        most = max(most, offsets[text + 1] - offsets[text])
    return most


@compiled
def signatures(data: Array, offsets: Array, folded: Array, size: int, bins: int) -> Any:
    """Filled bins uint16, the lowest hash in each uint64, and int32 [texts + 1] where those of each text begin."""
    texts = offsets.shape[0] - 1
    words = np.empty(longest(offsets) // 2 + 1, np.uint64)
    filled = np.empty(texts * bins, np.uint16)
    lows = np.empty(texts * bins, np.uint64)
    starts = np.zeros(texts + 1, np.int32)
    lowest = np.empty(bins, np.uint64)
    count = 0
    for text in range(texts):
        found = hash_words(data, offsets[text], offsets[text + 1], folded, words)
        runs = hash_runs(words[:found], size, words)
        lowest[:] = FULL
        for place in range(runs):
            run = words[place]
            bin_ = run & U(bins - 1)
            if run < lowest[bin_]:
                lowest[bin_] = run
        for bin_ in range(bins):
            if lowest[bin_] != FULL:
                filled[count] = bin_
                lows[count] = lowest[bin_]
                count += 1
        starts[text + 1] = count
    return filled[:count].copy(), lows[:count].copy(), starts


@compiled
def run_hashes(data: Array, offsets: Array, folded: Array, size: int, long_text_words: int) -> Any:
    """Hashes of each text's runs, repeated ones too, and int64 [texts + 1] where those of each begin.

    Of a text of `long_text_words` or more, those in its sample.
    """
    texts = offsets.shape[0] - 1
    words = np.empty(longest(offsets) // 2 + 1, np.uint64)
    hashes = np.empty((offsets[texts] - offsets[0]) // 2 + texts, np.uint64)
    starts = np.zeros(texts + 1, np.int64)
    count = 0
    for text in range(texts):
        found = hash_words(data, offsets[text], offsets[text + 1], folded, words)
        runs = hash_runs(words[:found], size, words)
        below = FULL if found < long_text_words else SAMPLED_BELOW
        for place in range(runs):
            if words[place] < below:
                hashes[count] = words[place]
                count += 1
        starts[text + 1] = count
    return hashes[:count].copy(), starts


@compiled
def without_repeats(values: Array) -> int:
    """Moves the different ones of sorted values to the front, and says how many there are."""
    count = 0
    for place in range(values.shape[0]):
        if count == 0 or values[place] != values[count - 1]:
            values[count] = values[place]
            count += 1
    return count


@compiled
def shared_counts(values: Array, starts: Array, ends: Array, first: Array, second: Array) -> Array:
    """How many values the sorted sets `first[n]` and `second[n]` share, int64; a set lies from its start to its end."""
    shared = np.zeros(first.shape[0], np.int64)
    for pair in range(first.shape[0]):
        a, a_end = starts[first[pair]], ends[first[pair]]
        b, b_end = starts[second[pair]], ends[second[pair]]
        count = 0
        while a < a_end and b < b_end:
            left, right = values[a], values[b]
            count += left == right
            a += left <= right
            b += right <= left
        shared[pair] = count
    return shared


# --- repetition -------------------------------------------------------------------------------------------------------

SIZES = 10  # runs of 2 to 11 words
LONGEST_WORD = 255  # characters that count of a word


@compiled
def spaced_words(data: Array, start: int, end: int, hashes: Array, lengths: Array) -> int:
    """Fills in the hash and the characters of each word between blanks, and says how many there are."""
    words, chars = 0, 0
    word = FNV_OFFSET
    for place in range(start, end):
        byte = data[place]
        if byte == 32 or byte == 10 or byte == 9:
            if chars:
                hashes[words], lengths[words] = mixed(word), min(chars, LONGEST_WORD)
                words += 1
                word, chars = FNV_OFFSET, 0
        else:
            word = (word ^ U(byte)) * FNV_PRIME
            chars += (byte & 0xC0) != 0x80
    if chars:
        hashes[words], lengths[words] = mixed(word), min(chars, LONGEST_WORD)
        words += 1
    return words


@compiled
def repetition(data: Array, offsets: Array) -> Array:
    """int64 [texts, 9]: characters of the most frequent run of 2, 3, 4 words, of repeated runs of 5 to 10 words.

    The most frequent run counts with its blanks, as often as it occurs; of several the longest does; one that occurs
    once repeats nothing. Of repeated runs each occurrence but one counts, without blanks, and of two that overlap
    what they share counts once, which is what is inside of the repeated runs of one word more.
    """
    texts = offsets.shape[0] - 1
    result = np.zeros((texts, 9), np.int64)
    most = longest(offsets) // 2 + 1
    hashes = np.empty(most, np.uint64)
    lengths = np.empty(most, np.int64)
    runs = np.empty(most, np.uint64)
    places = np.empty(most, np.int64)  # where the runs that are looked at begin
    slots = np.empty(most, np.int64)
    ends = np.empty(most + 1, np.int64)  # characters before each word
    width = 4
    while width < 2 * most:
        width *= 2
    keys = np.empty(width, np.uint64)
    counts = np.zeros(width, np.int64)
    for text in range(texts):
        words = spaced_words(data, offsets[text], offsets[text + 1], hashes, lengths)
        ends[0] = 0
        for place in range(words):
            ends[place + 1] = ends[place] + lengths[place]
            runs[place] = hashes[place]
            places[place] = place
        mask = 4
        while mask < 2 * words:
            mask *= 2
        looked_at = words
        for size in range(2, SIZES + 2):
            counted = count_runs(size, hashes[:words], runs, places[:looked_at], slots, keys[:mask], counts)
            looked_at, most_frequent, repeated, inside = weigh_runs(size, ends, places[:counted], slots, counts)
            if size <= 4:
                result[text, size - 2] = most_frequent
            elif size <= 10:
                result[text, size - 2] += repeated
            if size >= 6:
                result[text, size - 3] -= inside
            if not looked_at:
                break
    return result


@compiled
def count_runs(size: int, hashes: Array, runs: Array, places: Array, slots: Array, keys: Array, counts: Array) -> int:
    """Makes the runs at `places`, of one word less, longer by a word and counts them; says how many there are.

    `places` then begins with theirs, `slots` with where in `counts` each is counted; the length of `keys` is a power
    of two.
    """
    mask = keys.shape[0] - 1
    kept = 0
    for place in places:
        if place + size > hashes.shape[0]:
            continue
        places[kept] = place
        run = runs[place] = mixed(rotated(runs[place], 1) + hashes[place + size - 1])
        slot = np.int64(run & U(mask))
        while counts[slot] and keys[slot] != run:
            slot = (slot + 1) & mask
        keys[slot] = run
        counts[slot] += 1
        slots[kept] = slot
        kept += 1
    return kept


@compiled
def weigh_runs(size: int, ends: Array, places: Array, slots: Array, counts: Array) -> Any:
    """How many runs occur more than once, and three numbers of characters; leaves `counts` empty.

    Those of the most frequent run with its blanks, times its occurrences; those of all occurrences but the first of
    each run; and the same without the first and the last word of each. `places` then begins with the repeated runs.
    """
    kept, top_count, top_chars, repeated, inside = 0, 0, 0, 0, 0
    for number, place in enumerate(places):
        slot = slots[number]
        copies = counts[slot]
        if copies > 1:
            places[kept], slots[kept] = place, slot
            kept += 1
            chars = ends[place + size] - ends[place]
            if copies > top_count or (copies == top_count and chars + size - 1 > top_chars):
                top_count, top_chars = copies, chars + size - 1
            repeated += chars
            inside += ends[place + size - 1] - ends[place + 1]
        elif copies == 1:
            counts[slot] = 0
    for number in range(kept):  # of each run the first occurrence repeats nothing
        place, slot = places[number], slots[number]
        if counts[slot]:
            counts[slot] = 0
            repeated -= ends[place + size] - ends[place]
            inside -= ends[place + size - 1] - ends[place + 1]
    return kept, top_count * top_chars, repeated, inside


# --- characters -------------------------------------------------------------------------------------------------------

# of a character, and so of every text that has it
ODD, MAY_COMPOSE, WIDE_BLANK, AMPERSAND = 1 << 0, 1 << 1, 1 << 2, 1 << 3
# of a text: which classes of characters stand side by side in it
BROKEN_PAIR, TRAILING_BLANK, EMPTY_LINES, OUTER_NEWLINE = 1 << 4, 1 << 5, 1 << 6, 1 << 7
FLAGS = (1 << 8) - 1
LEAD, FOLLOWER, BLANK, NEWLINE, PAGE_END = 1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12


@compiled
def flags_of(data: Array, offsets: Array, classes: Array) -> Array:
    """uint32 [texts]: the flags of all characters of a text, and those of what stands side by side in it.

    `classes` uint16 has for each code point its flags and its classes.
    """
    texts = offsets.shape[0] - 1
    flags = np.zeros(texts, np.uint32)
    for text in range(texts):
        place, end = offsets[text], offsets[text + 1]
        seen, before, newlines = 0, NEWLINE, 0
        if place < end and (data[place] == 10 or data[end - 1] == 10):
            seen |= OUTER_NEWLINE
        while place < end:
            point, place = code_point(data, place)
            kind = classes[point]
            seen |= kind
            if kind & (FOLLOWER | NEWLINE | PAGE_END):
                if before & LEAD and kind & FOLLOWER:
                    seen |= BROKEN_PAIR
                if before & BLANK and kind & (NEWLINE | PAGE_END):
                    seen |= TRAILING_BLANK
                if kind & NEWLINE:
                    newlines += 1
                    if newlines == 4:
                        seen |= EMPTY_LINES
            if not kind & NEWLINE:
                newlines = 0
            before = kind
        if before & BLANK:
            seen |= TRAILING_BLANK
        flags[text] = seen & FLAGS
    return flags


@compiled
def tidy_blanks(data: Array, offsets: Array, classes: Array) -> Any:
    """Each text with plain blanks, none before a line's end, no empty lines at its ends, two at most in a row.

    The bytes uint8 of all texts, and int32 [texts + 1] where each begins.
    """
    texts = offsets.shape[0] - 1
    tidied = np.empty(max(offsets[texts] - offsets[0], 1), np.uint8)
    starts = np.zeros(texts + 1, np.int32)
    out = 0
    for text in range(texts):
        place, end = offsets[text], offsets[text + 1]
        begin, kept, newlines = out, out, 0  # kept: behind the last character that is no blank
        while place < end:
            here = place
            point, place = code_point(data, place)
            kind = classes[point]
            if kind & (BLANK | WIDE_BLANK):
                tidied[out] = data[here] if kind & BLANK else 32
                out += 1
                continue
            if kind & NEWLINE:
                out = kept
                if newlines < 3 and out > begin:
                    newlines += 1
                    tidied[out] = 10
                    out += 1
            else:
                newlines = 0
                if kind & PAGE_END:
                    out = kept
                for byte in range(here, place):
                    tidied[out] = data[byte]
                    out += 1
            kept = out
        out = kept
        while out > begin and tidied[out - 1] == 10:
            out -= 1
        starts[text + 1] = out
    return tidied[:out].copy(), starts
