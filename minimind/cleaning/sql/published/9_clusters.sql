-- one row is a range of cluster sizes, each twice as wide as the one before, with its clusters and their documents
-- A cluster of one document is a document that resembles no other.
with sizes as (
    select count(*) as size from clusters group by cluster
),
ranges as (
    select size, 1::bigint << floor(log2(size))::integer as min_documents from sizes
)
select
    min_documents,
    2 * min_documents - 1 as max_documents,
    count(*) as clusters,
    sum(size)::bigint as documents
from ranges
group by min_documents
order by min_documents
