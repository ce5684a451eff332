-- one row: how many documents of $later are new or have another text than in $earlier, how many of $earlier are gone,
-- and the bytes of all of these; a changed document counts once, with the larger of its texts
with earlier as (
    select document_id, md5_number(text) as digest, strlen(text) as bytes
    from read_parquet($earlier)
),
later as (
    select document_id, md5_number(text) as digest, strlen(text) as bytes
    from read_parquet($later)
),
compared as (
    select
        earlier.document_id is null as is_new,
        later.document_id is null as is_removed,
        earlier.digest <> later.digest as is_changed,
        coalesce(earlier.bytes, 0) as bytes_before,
        greatest(coalesce(earlier.bytes, 0), coalesce(later.bytes, 0)) as bytes
    from earlier
    full join later using (document_id)
)
select
    count(*) filter (where is_new) as new,
    count(*) filter (where is_changed) as changed,
    count(*) filter (where is_removed) as removed,
    coalesce(sum(bytes) filter (where is_new or is_changed or is_removed), 0)::bigint as bytes,
    coalesce(sum(bytes_before), 0)::bigint as of_bytes
from compared
