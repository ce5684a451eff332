-- one row: the share of new clusters that goes to the holdout, and what holdout and train then hold
-- The YAML's share where that is enough, else the smallest number of thousandths, up to a fifth, that reaches the
-- least number of documents and bytes; a fifth where nothing does, and enough is false.
with shares as (
    select distinct greatest($holdout_share, unnest(range(0, 201)) / 1000) as share
),
holdouts as (
    select
        shares.share,
        coalesce(sum(documents) filter (where ledger_split = 'holdout' or position < share), 0)::bigint as documents,
        coalesce(sum(bytes) filter (where ledger_split = 'holdout' or position < share), 0)::bigint as bytes
    from shares
    left join cluster_origins on ledger_split = 'holdout' or (ledger_split is null and position < share)
    group by shares.share
),
ranked as (
    select *, documents >= $min_documents and bytes >= $min_bytes as enough
    from holdouts
),
total as (
    select coalesce(sum(documents), 0)::bigint as documents from cluster_origins
)
select ranked.*, total.documents - ranked.documents as train_documents
from ranked, total
order by enough desc, case when enough then share else -share end
limit 1
