-- one row is a document that is asked for, the best match first; matches says how many there are in all
-- A document matches when it holds every word, in its text, its title or its id; it comes first when it holds them as
-- one phrase, then by how much of it the words make up.
with asked as (
    select
        *,
        case when len($words::varchar[]) = 0 then '' else lower(concat_ws(' ', document_id, title, text)) end as lowered
    from fates
    where ($removed is null or (step is not null) = $removed)
        and ($reason is null or $reason in (step, reason))
        and ($source is null or source = $source)
),
words as (
    select list_distinct(list_transform($words::varchar[], lambda word: lower(word))) as words
),
matching as (
    select
        asked.*,
        words,
        len(words) > 1 and regexp_matches(lowered, $phrase) as as_phrase,
        list_sum(list_transform(
            words, lambda word: (length(lowered) - length(replace(lowered, word, ''))) // length(word)
        )) as occurrences
    from asked, words
    where len(list_filter(words, lambda word: not contains(lowered, word))) = 0
)
select
    document_id,
    source,
    title,
    license,
    metadata,
    split,
    step,
    reason,
    kept_document_id,
    length(text) as chars,
    text[greatest(1, strpos(lower(text), words[1]) - 60):][:$excerpt_chars] as excerpt,
    count(*) over () as matches
from matching
order by as_phrase desc, coalesce(occurrences, 0) / greatest(1, length(lowered)) desc, document_id
limit $limit
