-- one row is a 13-gram of the holdout or of an evaluation file, with the holdout documents that have it
with reference_texts as (
    select texts.text, true as of_holdout
    from splits
    join catalogue using (number)
    join texts using (text_key)
    where split = 'holdout' and number not in (select number from unfit_documents)
    union all
    select text, false from evaluation_texts
),
hashed as (
    select row_number() over () as place, of_holdout, word_hashes_of(text) as hashes from reference_texts
),
runs as (
    select
        place,
        of_holdout,
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
        unnest(hashes[13:]) as m
    from hashed
),
grams as (
    select
        place,
        of_holdout,
        gram_hash(a, b, c, d, e, f, g, h, i, j, k, l, m) as gram
    from runs
    where m is not null
)
select gram, count(distinct place) filter (where of_holdout) as holdout_documents
from grams
group by gram
