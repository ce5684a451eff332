-- one row is a cluster: what the ledger says of it, where its hash falls, and what it would bring to the holdout
-- A cluster that touches a holdout member of the ledger is holdout, one that touches only train members is train. One
-- that touches both is mixed: earlier models were trained on part of it, so that only its holdout members can stay.
-- position is the first 64 bits of the md5 of its smallest document_id, as a share of 1.
with members as (
    select
        clusters.cluster,
        catalogue.document_id,
        left_documents.bytes,
        left_documents.number is not null as kept,
        previous_ledger.split
    from clusters
    join catalogue using (number)
    left join left_documents using (number)
    left join previous_ledger using (document_id)
),
mixing as (
    select
        cluster,
        coalesce(bool_or(split = 'holdout') and bool_or(split = 'train'), false) as mixed
    from members
    group by cluster
),
grouped as (
    select
        cluster,
        mixed,
        min(document_id) as first_document_id,
        case
            when bool_or(coalesce(split = 'holdout', false)) then 'holdout'
            when bool_or(coalesce(split = 'train', false)) then 'train'
        end as ledger_split,
        count(*) filter (where kept and stays) as documents,
        coalesce(sum(bytes) filter (where kept and stays), 0)::bigint as bytes
    from (
        select members.*, mixed, not mixed or coalesce(split = 'holdout', false) as stays
        from members
        join mixing using (cluster)
    )
    group by cluster, mixed
)
select *, ('0x' || md5(first_document_id)[:16])::ubigint / 18446744073709551616.0 as position
from grouped
