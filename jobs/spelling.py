"""The loops of `lexicon` that read texts letter by letter, compiled with numba and cached on disk beside this file.

Texts come as Arrow holds them: UTF-8 `data` (uint8) and `offsets` (int32, one more than there are texts). Every function releases the
interpreter lock.
"""

import numpy as np
from numba import float32, int32, int64, njit, types, uint8, uint64, void

BETWEEN, WORD, DIGIT, DENSE, UNSEEN, JOINER, DECIMAL = range(7)  # kinds of characters
SELECTORS = 0xE0000  # and what lies beyond: nothing that is seen; below it, and beyond the kinds, ideographs
_HYPHEN, _POINT, _COMMA = ord("-"), ord("."), ord(",")
SHORTEST, LONGEST = 3, 5  # letters of an n-gram, the boundaries of its word among them
UNIT = 3  # letters of a word that may be the unit of the number before it
SIGNS = 8  # components of a sketch that a term is written to: fewer, and a rare term's would stand out
_TEXTS = (types.Array(uint8, 1, "C", readonly=True), types.Array(int32, 1, "C", readonly=True))


@njit(nogil=True, cache=True, inline="always")
def _letter(data, place):  # type: ignore[no-untyped-def]
    """The code point that begins at the place, and where the next one begins."""
    first = np.int64(data[place])
    if first < 0x80:
        return first, place + 1
    if first < 0xE0:
        return (first & 0x1F) << 6 | data[place + 1] & 0x3F, place + 2
    if first < 0xF0:
        return (first & 0x0F) << 12 | (data[place + 1] & 0x3F) << 6 | data[place + 2] & 0x3F, place + 3
    return (first & 7) << 18 | (data[place + 1] & 0x3F) << 12 | (data[place + 2] & 0x3F) << 6 | data[place + 3] & 0x3F, place + 4


@njit(nogil=True, cache=True, inline="always")
def _kind(letter, kinds):  # type: ignore[no-untyped-def]
    if letter < len(kinds):
        return np.int64(kinds[letter])
    return np.int64(DENSE if letter < SELECTORS else UNSEEN)


@njit(nogil=True, cache=True, inline="always")
def _bucket(letters, start, stop, buckets):  # type: ignore[no-untyped-def]
    """The bucket (a power of two of them) of letters[start:stop]: multiply and shift, as in FNV."""
    mixed = np.uint64(14_695_981_039_346_656_037) + np.uint64(stop - start)
    for place in range(start, stop):
        mixed = (mixed ^ np.uint64(letters[place])) * np.uint64(0x9E37_79B9_7F4A_7C15)
        mixed ^= mixed >> np.uint64(29)
    return np.int32(mixed >> np.uint64(32) & np.uint64(buckets - 1))


@njit(int32(int64[::1], int64), nogil=True, cache=True)
def bucket(letters, size):  # type: ignore[no-untyped-def]
    """The bucket of a term of these letters, by their code points, 0 for a boundary."""
    return _bucket(letters, 0, len(letters), size)


@njit(nogil=True, cache=True, inline="always")
def _counted(found, count, place, buckets, counts):  # type: ignore[no-untyped-def]
    """Writes the different ones of found[:count], ascending, and how often each occurs, from the place on; where the next ones go."""
    found[:count].sort()
    for term in range(count):
        if term and found[term] == found[term - 1]:
            counts[place - 1] += 1
        else:
            buckets[place], counts[place] = found[term], 1
            place += 1
    return place


@njit(int64(*_TEXTS, uint8[::1], int64, int64[::1], int32[::1], int32[::1]), nogil=True, cache=True)
def grams(data, offsets, kinds, size, bounds, buckets, counts):  # type: ignore[no-untyped-def]
    """The n-grams of every text: bounds (texts + 1,), and the buckets, of `size`, with their counts. Returns how many there are.

    buckets and counts have room for three terms a byte. A word is read with a boundary on either side; of DENSE letters every one is a
    term, and every two.
    """
    room = 0
    for text in range(len(offsets) - 1):
        room = max(room, offsets[text + 1] - offsets[text])
    word, found = np.empty(room + 2, np.int64), np.empty(3 * room + 1, np.int32)
    total = 0
    bounds[0] = 0
    for text in range(len(offsets) - 1):
        count, length, dense, place, stop = 0, 1, False, offsets[text], offsets[text + 1]
        word[0] = 0
        while place <= stop:
            if place < stop:
                letter, place = _letter(data, place)
                kind = _kind(letter, kinds)
            else:
                letter, kind, place = 0, BETWEEN, place + 1
            if kind == UNSEEN:
                continue
            if length > 1 and (kind in (BETWEEN, JOINER, DECIMAL) or (kind == DENSE) != dense):
                if dense:
                    for start in range(1, length):
                        found[count] = _bucket(word, start, start + 1, size)
                        count += 1
                        if start + 1 < length:
                            found[count] = _bucket(word, start, start + 2, size)
                            count += 1
                else:
                    word[length] = 0
                    for gram in range(SHORTEST, LONGEST + 1):
                        for start in range(length + 2 - gram):
                            found[count] = _bucket(word, start, start + gram, size)
                            count += 1
                length = 1
            if kind in (WORD, DIGIT, DENSE):
                dense = kind == DENSE
                word[length] = letter
                length += 1
        total = _counted(found, count, total, buckets, counts)
        bounds[text + 1] = total
    return total


@njit(nogil=True, cache=True, inline="always")
def _coded(word, start, length, digits, leading, size, found, count):  # type: ignore[no-untyped-def]
    """Writes the codes of one word from the count on, see `codes`; where the next ones go.

    word[:start] is the number just before it, if any; of its `length` letters so many are `digits` and points, `leading` of them in front.
    """
    if digits:
        found[count] = _bucket(word, start, start + length, size)
        count += 1
        if 0 < leading == digits < length:
            found[count] = _bucket(word, start, start + leading, size)
            count += 1
    elif start and length <= UNIT:
        found[count] = _bucket(word, 0, start + length, size)
        count += 1
    return count


@njit(int64(*_TEXTS, uint8[::1], int64, int64[::1], int32[::1], int32[::1]), nogil=True, cache=True)
def codes(data, offsets, kinds, size, bounds, buckets, counts):  # type: ignore[no-untyped-def]
    """The words of every text that hold a digit, as `grams` gives n-grams; of a number with letters after it, its unit, the number as well,
    and of a number before a short word, which may be its unit, both as one.

    A JOINER between two letters is passed over; but between two digits all but a hyphen are kept, a DECIMAL comma as a point.
    """
    room = 0
    for text in range(len(offsets) - 1):
        room = max(room, offsets[text + 1] - offsets[text])
    word, found = np.empty(room + 1, np.int64), np.empty(room + 1, np.int32)
    total = 0
    bounds[0] = 0
    for text in range(len(offsets) - 1):
        count, start, length, digits, leading, joined, last = 0, 0, 0, 0, 0, 0, BETWEEN
        place, stop = offsets[text], offsets[text + 1]
        while place <= stop:
            if place < stop:
                letter, place = _letter(data, place)
                kind = _kind(letter, kinds)
            else:
                letter, kind, place = 0, BETWEEN, place + 1
            if kind == UNSEEN:
                continue
            if kind in (JOINER, DECIMAL) and length and not joined:
                joined = letter
                continue
            inside, figures = kind in (WORD, DIGIT), joined and last == DIGIT and kind == DIGIT
            if figures and joined != _HYPHEN:
                word[start + length] = _POINT if joined == _COMMA else joined
                leading += leading == length
                digits += 1
                length += 1
            ends = length and (not inside or (joined == _COMMA and not figures))
            if ends:
                count = _coded(word, start, length, digits, leading, size, found, count)
                word[:leading] = word[start : start + leading]
                start = leading if leading == length else 0
                length, digits, leading = 0, 0, 0
            if inside:
                word[start + length] = letter
                leading += kind == DIGIT and leading == length
                digits += kind == DIGIT
                length += 1
            elif not ends or joined or kind == DENSE:
                start = 0
            joined, last = 0, kind
        total = _counted(found, count, total, buckets, counts)
        bounds[text + 1] = total
    return total


@njit(void(*_TEXTS, float32[::1], float32[::1]), nogil=True, cache=True)
def familiar(data, offsets, weights, found):  # type: ignore[no-untyped-def]
    """The mean weight of each text's letters: weights by code point, below 0 of what is no letter; 1 of a text without letters."""
    for text in range(len(offsets) - 1):
        total, letters, place = np.float32(0), 0, offsets[text]
        while place < offsets[text + 1]:
            letter, place = _letter(data, place)
            weight = weights[letter] if letter < len(weights) else np.float32(0 if letter < SELECTORS else -1)
            if weight >= 0:
                total += weight
                letters += 1
        found[text] = total / letters if letters else 1


@njit(void(int64[::1], float32[::1]), nogil=True, cache=True)
def normalise(bounds, weights):  # type: ignore[no-untyped-def]
    """Gives every sparse row of weights unit length."""
    for row in range(len(bounds) - 1):
        total = 0.0
        for place in range(bounds[row], bounds[row + 1]):
            total += np.float64(weights[place]) * np.float64(weights[place])
        for place in range(bounds[row], bounds[row + 1]):
            weights[place] /= np.sqrt(total)


@njit(void(int64[::1], int32[::1], float32[::1], uint64, float32[:, ::1]), nogil=True, cache=True)
def sketch(bounds, buckets, weights, salt, found):  # type: ignore[no-untyped-def]
    """Adds the sketches of sparse rows to found (n, width), width a power of two.

    A term is written to SIGNS components that its bucket and the salt choose, with a sign each.
    """
    width = np.uint64(found.shape[1] - 1)
    for row in range(len(found)):
        for place in range(bounds[row], bounds[row + 1]):
            part = weights[place] * np.float32(SIGNS**-0.5)
            mixed = (np.uint64(buckets[place]) + salt) * np.uint64(0x9E37_79B9_7F4A_7C15)
            for _ in range(SIGNS):
                mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58_476D_1CE4_E5B9)
                found[row, mixed >> np.uint64(33) & width] += part if mixed >> np.uint64(63) else -part


@njit(
    int64(int64[::1], int32[::1], float32[::1], int32[::1], int64[::1], int32[::1], float32[::1]),
    nogil=True, cache=True,
)  # fmt: skip
def invert(bounds, buckets, weights, lists, starts, rows, values):  # type: ignore[no-untyped-def]
    """Sparse rows by bucket: those that have it, ascending, are rows[starts[i] : starts[i + 1]], with their values, where i is
    lists[bucket]; 0 for a bucket that none has. Returns the number of lists.

    lists, for all buckets, and starts, two longer than there are terms, are zero.
    """
    count = 0
    for term in range(bounds[0], bounds[-1]):
        if lists[buckets[term]] == 0:
            count += 1
            lists[buckets[term]] = count
        starts[lists[buckets[term]] + 1] += 1
    for one in range(count + 1):
        starts[one + 1] += starts[one]  # now where each list begins, and the next one ends
    for row in range(len(bounds) - 1):
        for term in range(bounds[row], bounds[row + 1]):
            one = lists[buckets[term]]
            rows[starts[one]], values[starts[one]] = row, weights[term]
            starts[one] += 1
    for one in range(count, 0, -1):
        starts[one] = starts[one - 1]
    return count


@njit(
    void(int64[::1], int32[::1], float32[::1], int32[::1], int64[::1], int32[::1], float32[::1], float32[:, ::1]),
    nogil=True, cache=True, fastmath=True,
)  # fmt: skip
def products(bounds, buckets, weights, lists, starts, rows, values, found):  # type: ignore[no-untyped-def]
    """Inner products of every sparse row with those that were inverted, into found (rows, inverted ones), which is zero.

    Only terms that both have cost anything.
    """
    for row in range(len(bounds) - 1):
        for term in range(bounds[row], bounds[row + 1]):
            one, weight = lists[buckets[term]], weights[term]
            if one:
                for place in range(starts[one], starts[one + 1]):
                    found[row, rows[place]] += weight * values[place]
