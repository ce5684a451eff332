-- one row is a raw text that no earlier cleaning has read, with the first document that has it, and its partition
-- Where parts have processes of their own, small corpora too are cut into as many: Python runs on one core of each.
with texts as (
    select text_key, min(document_id) as document_id, min(raw_bytes) as raw_bytes
    from corpus_documents
    anti join known_texts using (text_key)
    group by text_key
),
placed as (
    select
        *,
        sum(raw_bytes) over (order by document_id) - raw_bytes as bytes_before,
        least($partition_bytes, greatest($least_partition_bytes, sum(raw_bytes) over () // $processes + 1)) as partition_bytes
    from texts
)
select document_id, text_key, (bytes_before // partition_bytes)::bigint as partition
from placed
