-- one row is a cluster: what the ledger says of it, where its hash falls, and what it would bring to the holdout
-- A cluster that touches a holdout member of the ledger is holdout, one that touches only train members is train. Of a
-- mixed one, nothing but holdout members is left.
-- position is the first 64 bits of the md5 of its smallest document_id, as a share of 1.
with grouped as (
    select
        cluster,
        min(document_id) as first_document_id,
        case
            when bool_or(coalesce(split = 'holdout', false)) then 'holdout'
            when bool_or(coalesce(split = 'train', false)) then 'train'
        end as ledger_split,
        count(left_documents.number) as documents,
        coalesce(sum(left_documents.bytes), 0)::bigint as bytes
    from clusters
    join catalogue using (number)
    left join left_documents using (number)
    left join previous_ledger using (document_id)
    group by cluster
)
select *, ('0x' || md5(first_document_id)[:16])::ubigint / 18446744073709551616.0 as position
from grouped
