-- one row is a different shingle of a document: a run of five words
with words as (
    select number, regexp_extract_all(lower(text), '[\p{L}\p{N}_]+') as words
    from documents
),
runs as (
    -- side by side: every word, and those after it
    select
        number,
        unnest(words) as word_1,
        unnest(words[2:]) as word_2,
        unnest(words[3:]) as word_3,
        unnest(words[4:]) as word_4,
        unnest(words[5:]) as word_5
    from words
)
select distinct number, hash(concat_ws(' ', word_1, word_2, word_3, word_4, word_5)) as shingle
from runs
where word_5 is not null
