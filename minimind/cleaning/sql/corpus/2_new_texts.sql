-- one row is a raw text that no earlier cleaning has read, with the first document that has it, and its partition
-- Where parts have processes of their own, small corpora too are cut into as many, as Python runs on one core of each.
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
        sum(raw_bytes) over () as all_bytes
    from texts
),
sized as (
    select *, greatest(1, least($processes, all_bytes // $least_partition_bytes)) as partitions
    from placed
)
select
    document_id,
    text_key,
    (bytes_before // least($partition_bytes, all_bytes // partitions + 1))::bigint as partition
from sized
