-- one row is a document of a chosen pair that was never compared before, with its different shingles
with unknown_pairs as (
    select i, j from chosen_pairs anti join known_similarities using (i, j)
),
wanted as (
    select number, text_key
    from sound_documents
    where number in (select i from unknown_pairs union select j from unknown_pairs)
),
hashed as (
    select number, word_hashes_of(text) as hashes
    from texts
    join wanted using (text_key)
),
runs as (
    select
        number,
        unnest(hashes) as a,
        unnest(hashes[2:]) as b,
        unnest(hashes[3:]) as c,
        unnest(hashes[4:]) as d,
        unnest(hashes[5:]) as e
    from hashed
),
shingled as (
    select number, run_hash($shingle_words, a, b, c, d, e) as shingle from runs
)
select number, list(distinct shingle) as shingles
from shingled
where shingle is not null
group by number
