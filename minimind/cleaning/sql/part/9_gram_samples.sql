-- one row is a text with hashes of its different 13-grams: all of a short text, of a long one those in the lowest
-- eighth of all hashes, so that such a hash is looked at in every text that has it
with runs as (
    select
        text_key,
        unnest(hashes) as a,
        unnest(hashes[2:]) as b,
        unnest(hashes[3:]) as c,
        unnest(hashes[4:]) as d,
        unnest(hashes[5:]) as e,
        unnest(hashes[6:]) as f,
        unnest(hashes[7:]) as g,
        unnest(hashes[8:]) as h,
        unnest(hashes[9:]) as i,
        unnest(hashes[10:]) as j,
        unnest(hashes[11:]) as k,
        unnest(hashes[12:]) as l,
        unnest(hashes[13:]) as m,
        len(hashes) as words
    from words
),
grams as (
    select
        text_key,
        words,
        gram_hash(a, b, c, d, e, f, g, h, i, j, k, l, m) as gram
    from runs
    where m is not null
)
select text_key, list(distinct gram) as grams
from grams
where words < $long_text_words or gram < 1::ubigint << 61
group by text_key
