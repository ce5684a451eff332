-- one row: up to which position new clusters go to the holdout, and what holdout and train then hold
-- New clusters join in the order of their positions: all within the YAML's share, then one at a time until the least
-- number of documents and bytes is reached, as long as the holdout is at most a fifth of the documents. The position
-- is no count: of few clusters, far fewer than a fifth may lie below 0.2. Where a fifth does not do, enough is false.
with total as (
    select
        coalesce(sum(documents), 0) as documents,
        coalesce(sum(documents) filter (where ledger_split = 'holdout'), 0) as ledger_documents,
        coalesce(sum(bytes) filter (where ledger_split = 'holdout'), 0) as ledger_bytes
    from cluster_origins
),
joined as (
    select
        position,
        sum(documents) over (order by position) as new_documents,
        sum(bytes) over (order by position) as new_bytes
    from cluster_origins
    where ledger_split is null
),
ends as (
    select
        $holdout_share::double as share,
        coalesce(max(new_documents), 0) as new_documents,
        coalesce(max(new_bytes), 0) as new_bytes
    from joined
    where position <= $holdout_share
    union all
    select joined.*
    from joined, total
    where position > $holdout_share and 5 * (ledger_documents + new_documents) <= total.documents
),
holdouts as (
    select
        share,
        (ledger_documents + new_documents)::bigint as documents,
        (ledger_bytes + new_bytes)::bigint as bytes,
        (total.documents - ledger_documents - new_documents)::bigint as train_documents
    from ends, total
)
select *, documents >= $min_documents and bytes >= $min_bytes as enough
from holdouts
order by enough desc, case when enough then share else -share end
limit 1
