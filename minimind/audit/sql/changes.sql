-- one row is a kept document drawn at random, with its text before and after cleaning, each up to $max_chars
-- drawn says how many were looked at; only those are rows that differ in more than blank space at the ends, first those
-- that differ in more than blank space anywhere: reworded says how many they are.
with drawn as (
    select document_id
    from kept
    order by md5($seed || document_id), document_id
    limit $drawn
),
compared as (
    select
        document_id,
        kept.source,
        raw_documents.text as before,
        kept.text as after,
        count(*) over () as drawn,
        md5($seed || document_id) as place
    from drawn
    join kept using (document_id)
    join raw_documents using (document_id)
),
changed as (
    select
        *,
        regexp_replace(before, '[\s\p{Z}]+', '', 'g') <> regexp_replace(after, '[\s\p{Z}]+', '', 'g') as is_reworded,
        count(*) over () as changed
    from compared
    where regexp_replace(before, '^\s+|\s+$', '', 'g') <> regexp_replace(after, '^\s+|\s+$', '', 'g')
)
select
    document_id,
    source,
    before[:$max_chars] as before,
    after[:$max_chars] as after,
    length(before) as chars_before,
    length(after) as chars_after,
    drawn,
    changed,
    count(*) filter (where is_reworded) over () as reworded
from changed
order by is_reworded desc, place, document_id
limit $shown
