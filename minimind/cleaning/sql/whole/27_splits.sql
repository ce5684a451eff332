-- one row is an assigned document with its split
select
    clusters.number,
    catalogue.document_id,
    coalesce(
        cluster_origins.ledger_split, case when position <= holdout_share.share then 'holdout' else 'train' end
    ) as split
from clusters
join cluster_origins using (cluster)
join catalogue using (number)
cross join holdout_share
