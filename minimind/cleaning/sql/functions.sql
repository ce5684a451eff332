-- no table: what several files must compute alike
-- Nothing that is kept depends on hash(): it changed between DuckDB versions. md5_number did not.

-- words of the near-duplicate steps: lower case, letters and digits only, so that layout and punctuation do not count;
-- RE2's \w knows ASCII alone
create macro words_of(text) as regexp_extract_all(lower(text), '[\p{L}\p{N}_]+');

-- 64 bits of the md5 of each word
create macro word_hashes_of(text) as
    list_transform(words_of(text), lambda word: (md5_number(word) >> 64)::ubigint);

create macro rotated(bits, places) as
    ((bits & (18446744073709551615::ubigint >> places)) << places) | (bits >> (64 - places)::ubigint);

-- the hash of a run of `size` words, 1 to 5, by cyclic polynomials (Cohen 1997; Lemire and Kaser 2010: pairwise
-- independent): each word's hash, rotated by its place; null where the text has ended. Its words come from a list and
-- its tails, unnested side by side, which is several times faster than picking them by index
create macro run_hash(size, a, b, c, d, e) as
    case when (case size when 1 then a when 2 then b when 3 then c when 4 then d else e end) is not null then
        xor(xor(xor(xor(
            a,
            case when size > 1 then rotated(b, 1) else 0::ubigint end),
            case when size > 2 then rotated(c, 2) else 0::ubigint end),
            case when size > 3 then rotated(d, 3) else 0::ubigint end),
            case when size > 4 then rotated(e, 4) else 0::ubigint end)
    end;

-- the like of 13 words
create macro gram_hash(a, b, c, d, e, f, g, h, i, j, k, l, m) as
    xor(xor(xor(xor(xor(xor(xor(xor(xor(xor(xor(xor(
        a, rotated(b, 1)), rotated(c, 2)), rotated(d, 3)), rotated(e, 4)), rotated(f, 5)), rotated(g, 6)),
        rotated(h, 7)), rotated(i, 8)), rotated(j, 9)), rotated(k, 10)), rotated(l, 11)), rotated(m, 12));

-- the metadata of a document, with one entry set where there is a value; keys in order
create macro noted(metadata, name, value) as
    case when value is null then metadata
    else map_from_entries(list_sort(list_append(
        list_filter(map_entries(metadata), lambda entry: entry.key <> name), {'key': name, 'value': value}
    ))) end;

-- as a class of a regular expression: what is a token of its own at the beginning and at the end of a word
create macro edge_marks() as '[,:;!?¿¡()\[\]{}<>_#*&"''“”‘’„‚`´«»…§%=—–•▪●$£€©®°]';

-- as a regular expression: the end of a line that ends with a sentence, in any script; quotes and ellipses end none
create macro terminal_mark() as '[.!?‼‽⁇⁈⁉⸮。．！？｡﹒﹖﹗։؞؟۔।॥။።፧፨។៕]$';

-- a line as it is compared with the lines of other documents
create macro bare_line(line) as trim(line, chr(9) || ' ');
create macro line_hash(line) as (md5_number(bare_line(line)) >> 64)::ubigint;
