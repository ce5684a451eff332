-- one row is an assigned document with its split; of a mixed cluster the ledger's holdout members alone are assigned
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
where clusters.number not in (select number from mixed_documents where not held_out)
