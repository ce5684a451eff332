-- one row: documents and bytes that came in, are kept for train and holdout, and were removed
with fates as (
    select
        catalogue.raw_bytes,
        left_documents.bytes,
        splits.split,
        removals.number is null as kept
    from catalogue
    left join splits using (number)
    left join removals using (number)
    left join left_documents using (number)
)
select
    count(*) as documents_in,
    sum(raw_bytes)::bigint as bytes_in,
    count(*) filter (where kept) as documents,
    coalesce(sum(bytes) filter (where kept), 0)::bigint as bytes,
    count(*) filter (where kept and split = 'train') as train_documents,
    coalesce(sum(bytes) filter (where kept and split = 'train'), 0)::bigint as train_bytes,
    count(*) filter (where kept and split = 'holdout') as holdout_documents,
    coalesce(sum(bytes) filter (where kept and split = 'holdout'), 0)::bigint as holdout_bytes,
    count(*) filter (where not kept) as removed
from fates
