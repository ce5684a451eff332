-- one row is a document without its text; number is its place in the order in which survivors are picked
-- Survivors: the newest known date first, then the smallest document_id.
with dated as (
    select
        *,
        case
            when regexp_full_match(date, '\d{4}(-\d{2}(-\d{2}([T ].*)?)?)?') then date
        end as known_date
    from corpus_documents
)
select
    row_number() over (order by known_date desc nulls last, document_id)::uinteger as number,
    document_id,
    source,
    license,
    text_key,
    raw_bytes,
    bytes,
    chars,
    text_md5
from dated
join texts using (text_key)
