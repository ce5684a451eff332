-- one row is a text with its MinHash signature: the bins that it fills, and the lowest shingle hash in each
-- One-permutation hashing (Li, Owen and Zhang 2012): every shingle falls into one of $bins bins, so that each is
-- hashed once, not $bins times. An empty bin is absent. $bins is a power of two.
with runs as (
    select
        text_key,
        unnest(hashes) as a,
        unnest(hashes[2:]) as b,
        unnest(hashes[3:]) as c,
        unnest(hashes[4:]) as d,
        unnest(hashes[5:]) as e
    from words
),
shingles as (
    select text_key, run_hash($shingle_words, a, b, c, d, e) as shingle
    from runs
),
lowest as (
    select text_key, (shingle & ($bins - 1)::ubigint)::usmallint as bin, min(shingle) as low
    from shingles
    where shingle is not null
    group by all
)
select text_key, list(bin order by bin) as bins, list(low order by bin) as lows
from lowest
group by text_key
