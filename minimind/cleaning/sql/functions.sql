-- no table: what several files must compute alike
-- Nothing here uses hash(): it changed between DuckDB versions. md5_number did not.

-- words of the near-duplicate steps: lower case, letters and digits only, so that layout and punctuation do not count;
-- RE2's \w knows ASCII alone
create macro words_of(text) as regexp_extract_all(lower(text), '[\p{L}\p{N}_]+');

-- 64 bits of a word's md5
create macro word_hash(word) as (md5_number(word) >> 64)::ubigint;

create macro rotated(bits, places) as
    ((bits & (18446744073709551615::ubigint >> places)) << places) | (bits >> (64 - places));

-- hashes of all runs of `size` words, by cyclic polynomials (Cohen 1997; Lemire and Kaser 2010: pairwise independent):
-- each word's hash, rotated by its place in the run. Empty for a text shorter than one run
create macro shingles_of(text, size) as (
    select list_transform(
        hashes[size:],
        lambda last_hash, i: xor(xor(xor(xor(
            hashes[i],
            case when size > 1 then rotated(hashes[i + 1], 1) else 0::ubigint end),
            case when size > 2 then rotated(hashes[i + 2], 2) else 0::ubigint end),
            case when size > 3 then rotated(hashes[i + 3], 3) else 0::ubigint end),
            case when size > 4 then rotated(hashes[i + 4], 4) else 0::ubigint end)
    )
    from (select list_transform(words_of(text), lambda word: word_hash(word)) as hashes)
);
