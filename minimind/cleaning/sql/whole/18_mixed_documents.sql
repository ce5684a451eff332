-- one row is a document of a mixed cluster, one with members on both sides of the ledger, and whether it is held out
-- Earlier models were trained on part of such a cluster, so that only its holdout members can stay.
with members as (
    select clusters.number, cluster, split
    from clusters
    join catalogue using (number)
    left join previous_ledger using (document_id)
),
mixed as (
    select cluster
    from members
    group by cluster
    having bool_or(split = 'holdout') and bool_or(split = 'train')
)
select number, coalesce(split = 'holdout', false) as held_out
from members
semi join mixed using (cluster)
